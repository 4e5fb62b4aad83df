<?php
// Sends every line of standard input as one message:  printf 'a\nb\n' | php examples/php/send.php orders
//
// Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
// sent again for a while. A 504, or a connection that broke, means "not known": the line is not sent again, because that
// could store it twice. PHP 8, no extension.
declare(strict_types=1);

function fail(string $text): never
{
    fwrite(STDERR, "send.php: $text\n");
    exit(1);
}

/** Returns once the broker has the message; ends the program when it has not, or when nobody knows. */
function send(string $topic, string $body): void
{
    $url = getenv('WHIMBREL_URL') ?: 'http://127.0.0.1:8080';
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => 'Content-Type: text/plain; charset=utf-8',
        'content' => $body,
        'timeout' => 60,
        'ignore_errors' => true, // an answer that is not a 2xx is still an answer
    ]]);
    foreach ([250, 500, 1000, 2000, 4000, 8000, 0] as $pause) {
        $stream = @fopen("$url/v1/topics/$topic/messages", 'r', false, $context);
        if ($stream === false) {
            $error = error_get_last()['message'] ?? '';
            if (!str_contains($error, 'Connection refused')) {
                fail("not known whether this was stored ($error): $body");
            }
        } else {
            // The first header line is "HTTP/1.1 201 Created".
            $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1];
            $text = stream_get_contents($stream);
            fclose($stream);
            if ($status === 201) {
                return;
            }
            if ($status === 504) {
                fail("not known whether this was stored: $body");
            }
            if ($status !== 429 && $status !== 503) {
                fail("refused with $status: $text");
            }
        }
        usleep($pause * 1000);
    }
    fail("not stored: $body");
}

if ($argc !== 2) {
    fail('usage: send.php TOPIC, one message a line on standard input');
}
while (($line = fgets(STDIN)) !== false) {
    send($argv[1], rtrim($line, "\n"));
}
