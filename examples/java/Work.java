// Works off the messages of a topic:  java examples/java/Work.java billing orders
//
// What `handle` finishes is acknowledged, after the work and never before. What it throws is given back with the reason: the
// message comes again after the group's retry delay, or becomes a dead letter when its attempts are used up. If this
// program is killed, the lease runs out and the message comes again, so the work must bear to see a message twice.
//
// With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s). Java 11 or newer, nothing to install. The JDK reads no
// JSON, so this one takes one raw body at a time; what belongs to it is in Mq- headers.
import java.io.*;
import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;

public class Work {
    static final String URL = System.getenv().getOrDefault("WHIMBREL_URL", "http://127.0.0.1:8080");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    /** The work. `headers` has Mq-Message-Id, Mq-Attempt, Mq-Tag, Mq-Prop-… and more. */
    static void handle(byte[] body, HttpHeaders headers) throws Exception {
        if (body.length == 0) throw new IllegalArgumentException("an empty order");
        OUT.println("billed: " + new String(body, StandardCharsets.UTF_8));
    }

    /** Asks until there is an answer. Safe here: receiving and settling may be repeated, unlike sending. */
    static HttpResponse<byte[]> call(HttpRequest.Builder request) throws InterruptedException {
        HttpRequest built = request.timeout(Duration.ofSeconds(90)).build();
        for (int pause = 250; ; pause = Math.min(pause * 2, 5000)) {
            try {
                HttpResponse<byte[]> answer = CLIENT.send(built, HttpResponse.BodyHandlers.ofByteArray());
                if (!Set.of(429, 502, 503, 504).contains(answer.statusCode())) return answer;
            } catch (IOException error) {
                System.err.println("Work.java: " + error + "; trying again");
            }
            Thread.sleep(pause);
        }
    }

    static HttpRequest.Builder to(String path) {
        return HttpRequest.newBuilder(URI.create(URL + path));
    }

    /** A text as JSON. */
    static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter < ' ' || letter == '"' || letter == '\\') json.append(String.format("\\u%04x", (int) letter));
            else json.append(letter);
        }
        return json.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 2) {
            System.err.println("usage: Work.java GROUP TOPIC");
            System.exit(1);
        }
        String group = "/v1/groups/" + arguments[0];
        String wait = System.getenv().getOrDefault("WAIT", "20s");
        String receive = group + "/receive?max_messages=1&topic=" + arguments[1] + "&wait=" + wait;
        while (true) {
            HttpResponse<byte[]> message = call(to(receive)
                .header("Accept", "application/octet-stream")
                .POST(HttpRequest.BodyPublishers.noBody()));
            if (message.statusCode() == 204) { // nothing came in time
                if ("1".equals(System.getenv("STOP_WHEN_EMPTY"))) return;
                continue;
            }
            if (message.statusCode() != 200) {
                System.err.println("Work.java: refused with " + message.statusCode() + ": " + new String(message.body()));
                System.exit(1);
            }
            String receipt = message.headers().firstValue("Mq-Receipt").orElseThrow();
            HttpRequest.Builder settle;
            try {
                handle(message.body(), message.headers());
                settle = to("/v1/receipts/" + receipt).DELETE();
            } catch (Exception error) {
                String form = "{\"receipts\": [" + quoted(receipt) + "], \"reason\": " + quoted(error.getMessage()) + "}";
                settle = to(group + "/nack").POST(HttpRequest.BodyPublishers.ofString(form));
            }
            if (call(settle).statusCode() == 410) {
                System.err.println("Work.java: settled too late, the message comes again");
            }
        }
    }
}
