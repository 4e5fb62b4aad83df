#!/usr/bin/env node
// Works off the messages of a topic:  examples/node/work.mjs billing orders
//
// What `handle` finishes is acknowledged, after the work and never before. What it throws is given back with the reason: the
// message comes again after the group's retry delay, or becomes a dead letter when its attempts are used up. If this
// program is killed, the lease runs out and the message comes again, so the work must bear to see a message twice.
//
// With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s). Node 18 or newer, nothing to install.
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.WHIMBREL_URL ?? "http://127.0.0.1:8080";

// The work. `message` has id, topic, attempt, tag, keys, properties and more.
async function handle(body, message) {
  if (body.length === 0) throw new Error("an empty order");
  console.log(`billed: ${body.toString("utf8")}`);
}

// POSTs JSON until there is an answer. Safe here: receiving and settling may be repeated, unlike sending.
async function call(path, value) {
  for (let pause = 250; ; pause = Math.min(pause * 2, 5000)) {
    try {
      const signal = AbortSignal.timeout(90_000);
      const answer = await fetch(`${url}/v1/groups/${path}`, { method: "POST", body: JSON.stringify(value), signal });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      if (![429, 502, 503, 504].includes(answer.status)) {
        console.error(`work.mjs: refused with ${answer.status}: ${text}`);
        process.exit(1);
      }
    } catch (error) {
      console.error(`work.mjs: ${error.cause?.code ?? error.message}; trying again`);
    }
    await sleep(pause);
  }
}

const [group, topic] = process.argv.slice(2);
if (!topic) {
  console.error("usage: work.mjs GROUP TOPIC");
  process.exit(1);
}
for (;;) {
  // Ten messages at most: the work on all of them has to fit into one lease (a minute, unless the group says otherwise).
  const form = { topic, wait: process.env.WAIT ?? "20s", max_messages: 10 };
  const { messages } = await call(`${group}/receive`, form);
  if (messages.length === 0 && process.env.STOP_WHEN_EMPTY === "1") break;
  const acks = [];
  const nacks = [];
  for (const message of messages) {
    const { receipt } = message;
    try {
      await handle(Buffer.from(message.body, message.encoding), message);
      acks.push({ receipt });
    } catch (error) {
      nacks.push({ receipt, reason: error.message });
    }
  }
  if (messages.length === 0) continue;
  for (const { status } of (await call(`${group}/settle`, { acks, nacks })).results) {
    if (status !== "ok" && status !== "already") console.error("work.mjs: settled too late, the message comes again");
  }
}
