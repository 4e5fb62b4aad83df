<?php
// Works off the messages of a topic:  php examples/php/work.php billing orders
//
// What `handle` finishes is acknowledged, after the work and never before. What it throws is given back with the reason: the
// message comes again after the group's retry delay, or becomes a dead letter when its attempts are used up. If this
// program is killed, the lease runs out and the message comes again, so the work must bear to see a message twice.
//
// With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s). PHP 8, no extension.
declare(strict_types=1);

/** The work. `$message` has id, topic, attempt, tag, keys, properties and more. */
function handle(string $body, array $message): void
{
    if ($body === '') {
        throw new InvalidArgumentException('an empty order');
    }
    echo "billed: $body\n";
}

/** POSTs JSON until there is an answer. Safe here: receiving and settling may be repeated, unlike sending. */
function call(string $path, array $form): array
{
    $url = getenv('WHIMBREL_URL') ?: 'http://127.0.0.1:8080';
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => 'Content-Type: application/json',
        'content' => json_encode($form, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE),
        'timeout' => 90,
        'ignore_errors' => true, // an answer that is not a 2xx is still an answer
    ]]);
    for ($pause = 250; ; $pause = min($pause * 2, 5000)) {
        $stream = @fopen("$url/v1/groups/$path", 'r', false, $context);
        if ($stream === false) {
            fwrite(STDERR, 'work.php: ' . (error_get_last()['message'] ?? 'no answer') . "; trying again\n");
        } else {
            // The first header line is "HTTP/1.1 200 OK".
            $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1];
            $text = stream_get_contents($stream);
            fclose($stream);
            $answer = json_decode((string) $text, true);
            if ($status === 200 && is_array($answer)) {
                return $answer;
            }
            if (!in_array($status, [200, 429, 502, 503, 504], true)) {
                fwrite(STDERR, "work.php: refused with $status: $text\n");
                exit(1);
            }
        }
        usleep($pause * 1000);
    }
}

if ($argc !== 3) {
    fwrite(STDERR, "usage: work.php GROUP TOPIC\n");
    exit(1);
}
[, $group, $topic] = $argv;
// Ten messages at most: the work on all of them has to fit into one lease (a minute, unless the group says otherwise).
$form = ['topic' => $topic, 'wait' => getenv('WAIT') ?: '20s', 'max_messages' => 10];
while (true) {
    $messages = call("$group/receive", $form)['messages'];
    if ($messages === []) {
        if (getenv('STOP_WHEN_EMPTY') === '1') {
            break;
        }
        continue;
    }
    $acks = $nacks = [];
    foreach ($messages as $message) {
        $body = $message['encoding'] === 'base64' ? base64_decode($message['body']) : $message['body'];
        try {
            handle($body, $message);
            $acks[] = ['receipt' => $message['receipt']];
        } catch (Throwable $error) {
            $nacks[] = ['receipt' => $message['receipt'], 'reason' => $error->getMessage()];
        }
    }
    foreach (call("$group/settle", ['acks' => $acks, 'nacks' => $nacks])['results'] as $result) {
        if (!in_array($result['status'], ['ok', 'already'], true)) {
            fwrite(STDERR, "work.php: settled too late, the message comes again\n");
        }
    }
}
