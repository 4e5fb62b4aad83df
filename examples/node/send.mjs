#!/usr/bin/env node
// Sends every line of standard input as one message:  printf 'a\nb\n' | examples/node/send.mjs orders
//
// Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
// sent again for a while. A 504, or a connection that broke, means "not known": the line is not sent again, because that
// could store it twice. Node 18 or newer, nothing to install.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.WHIMBREL_URL ?? "http://127.0.0.1:8080";

function fail(text) {
  console.error(`send.mjs: ${text}`);
  process.exit(1);
}

// Returns once the broker has the message; ends the program when it has not, or when nobody knows.
async function send(topic, body) {
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  for (const pause of [250, 500, 1000, 2000, 4000, 8000, 0]) {
    try {
      const signal = AbortSignal.timeout(60_000);
      const answer = await fetch(`${url}/v1/topics/${topic}/messages`, { method: "POST", headers, body, signal });
      const text = await answer.text();
      if (answer.status === 201) return;
      if (answer.status === 504) fail(`not known whether this was stored: ${body}`);
      if (answer.status !== 429 && answer.status !== 503) fail(`refused with ${answer.status}: ${text}`);
    } catch (error) {
      const code = error.cause?.code;
      if (code !== "ECONNREFUSED") fail(`not known whether this was stored (${code ?? error.message}): ${body}`);
    }
    await sleep(pause);
  }
  fail(`not stored: ${body}`);
}

const [topic] = process.argv.slice(2);
if (!topic) fail("usage: send.mjs TOPIC, one message a line on standard input");
for await (const line of createInterface({ input: process.stdin })) await send(topic, line);
