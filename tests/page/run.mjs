// Runs examples/browser/index.html without a browser: a handful of elements, fetch, and a WebSocket where Node has none.
//
//   node run.mjs PAGE BROKER TOPIC GROUP send            sends each line of standard input, prints what the page says
//   node run.mjs PAGE BROKER TOPIC GROUP work            works until the group has nothing left, prints what is shown
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:http";

const [page, broker, topic, group, what] = process.argv.slice(2);

// RFC 6455, as much of it as one text conversation needs.
class Socket {
  constructor(url, protocol) {
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
      "Sec-WebSocket-Protocol": protocol,
      "Sec-WebSocket-Version": "13",
    };
    const asked = request(url.replace(/^ws/, "http"), { headers });
    asked.on("error", () => this.onclose());
    asked.on("response", () => this.onclose());
    asked.on("upgrade", (_, socket, head) => {
      this.socket = socket;
      this.unread = Buffer.alloc(0);
      socket.on("close", () => this.onclose());
      socket.on("error", () => {});
      socket.on("data", (bytes) => this.read(bytes));
      this.read(head);
    });
    asked.end();
  }

  read(bytes) {
    this.unread = Buffer.concat([this.unread, bytes]);
    for (;;) {
      const frame = this.unread;
      if (frame.length < 2) return;
      let length = frame[1] & 127;
      const head = length === 126 ? 4 : length === 127 ? 10 : 2;
      if (frame.length < head) return;
      if (length === 126) length = frame.readUInt16BE(2);
      if (length === 127) length = Number(frame.readBigUInt64BE(2));
      if (frame.length < head + length) return;
      this.unread = frame.subarray(head + length);
      if ((frame[0] & 15) === 1) this.onmessage({ data: frame.subarray(head, head + length).toString() });
    }
  }

  send(text) {
    const body = Buffer.from(text);
    if (body.length > 65535) throw new Error("longer than a test needs");
    const length = body.length < 126 ? [128 | body.length] : [128 | 126, body.length >> 8, body.length & 255];
    // A mask of zeros leaves the body as it is.
    this.socket.write(Buffer.concat([Buffer.from([129, ...length, 0, 0, 0, 0]), body]));
  }
}

const elements = new Map();
const element = (id) => {
  if (!elements.has(id)) elements.set(id, { value: "", textContent: "", items: [], append(item) { this.items.push(item); } });
  return elements.get(id);
};
const document = { getElementById: element, createElement: () => ({ textContent: "" }) };
const script = readFileSync(page, "utf8").match(/<script>([^]*)<\/script>/)[1];
new Function("document", "WebSocket", script)(document, globalThis.WebSocket ?? Socket);
element("broker").value = broker;
element("topic").value = topic;
element("group").value = group;

if (what === "send") {
  for (const line of readFileSync(0, "utf8").split("\n")) {
    element("body").value = line;
    await element("form").onsubmit({ preventDefault() {} });
    console.log(element("sent").textContent);
  }
} else {
  element("work").onclick();
  for (let left = true; left; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const shown = await (await fetch(`${broker}/v1/groups/${group}`)).json();
    left = shown.topics[0].lag > 0 || shown.in_flight > 0;
  }
  for (const item of element("done").items) console.log(item.textContent);
}
process.exit(0);
