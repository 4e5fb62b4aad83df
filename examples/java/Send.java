// Sends every line of standard input as one message:  printf 'a\nb\n' | java examples/java/Send.java orders
//
// Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
// sent again for a while. A 504, or a connection that broke, means "not known": the line is not sent again, because that
// could store it twice. Java 11 or newer, nothing to install, nothing to compile first.
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

public class Send {
    static final String URL = System.getenv().getOrDefault("WHIMBREL_URL", "http://127.0.0.1:8080");
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /** Returns once the broker has the message; ends the program when it has not, or when nobody knows. */
    static void send(String topic, String body) throws InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(URL + "/v1/topics/" + topic + "/messages"))
            .header("Content-Type", "text/plain; charset=utf-8")
            .timeout(Duration.ofSeconds(60))
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        for (int pause : new int[] {250, 500, 1000, 2000, 4000, 8000, 0}) {
            try {
                HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString());
                int status = answer.statusCode();
                if (status == 201) return;
                if (status == 504) fail("not known whether this was stored: " + body);
                if (status != 429 && status != 503) fail("refused with " + status + ": " + answer.body());
            } catch (ConnectException refused) {
                // Nothing listens, so nothing was stored.
            } catch (IOException error) {
                fail("not known whether this was stored (" + error + "): " + body);
            }
            Thread.sleep(pause);
        }
        fail("not stored: " + body);
    }

    static void fail(String text) {
        System.err.println("Send.java: " + text);
        System.exit(1);
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) fail("usage: Send.java TOPIC, one message a line on standard input");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) send(arguments[0], line);
    }
}
