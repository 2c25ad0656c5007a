// A server whose tool `echo` returns its text through a thread, a child process and a socket.
import { execFile } from "node:child_process";
import { scrypt } from "node:crypto";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

async function echo({ text }) {
  await promisify(scrypt)(text, "salt", 16);
  await new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => server.close(resolve));
  });
  const { stdout } = await promisify(execFile)("echo", ["-n", text]);
  return { content: [{ type: "text", text: stdout }] };
}

async function resultOf(method, params) {
  switch (method) {
    case "initialize":
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: "node", version: "1" },
      };
    case "tools/list":
      return { tools: [{ name: "echo", inputSchema: { type: "object" } }] };
    case "tools/call":
      return echo(params.arguments);
    default:
      throw new Error(`no method ${method}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) continue;
  const answer = { jsonrpc: "2.0", id };
  try {
    answer.result = await resultOf(method, params);
  } catch (fault) {
    answer.error = { code: -32601, message: String(fault) };
  }
  console.log(JSON.stringify(answer));
}
