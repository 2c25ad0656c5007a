#!/usr/bin/env node
// typescript.mjs SDK LABEL COMMAND...: an official TypeScript client calls a tool steadily, until its stdin ends.
//
//   SDK   v1 (@modelcontextprotocol/sdk) | v2 (@modelcontextprotocol/client) | v2-auto (asks for the newest era)
//
// See restarts.py for what it prints.
import { load } from '../../conformance/deps.mjs';

const [version, label, command, ...args] = process.argv.slice(2);
const INFO = { name: `typescript-${version}`, version: '1.0.0' };
const { STEADY_SECONDS, STEADY_PAUSE, STEADY_TIMEOUT } = process.env;
const PAUSE = 1000 * Number(STEADY_PAUSE);
const OPTIONS = { timeout: 1000 * Number(STEADY_TIMEOUT) };

async function v1() {
  const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
  const { StdioClientTransport } = await load('@modelcontextprotocol/sdk/client/stdio.js');
  const types = await load('@modelcontextprotocol/sdk/types.js');
  const client = new Client(INFO, { capabilities: {} });
  return {
    client,
    StdioClientTransport,
    call: params => client.callTool(params, types.CallToolResultSchema, OPTIONS),
    revision: () => '',
  };
}

async function v2(mode) {
  const { Client } = await load('@modelcontextprotocol/client');
  const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');
  const client = new Client(INFO, { capabilities: {}, versionNegotiation: { mode } });
  return {
    client,
    StdioClientTransport,
    call: params => client.callTool(params, OPTIONS),
    revision: () => client.getNegotiatedProtocolVersion(),
  };
}

const open = { v1, v2: () => v2('legacy'), 'v2-auto': () => v2('auto') }[version];
const { client, StdioClientTransport, call, revision } = await open();
const tell = members => process.stdout.write(JSON.stringify(members) + '\n');
const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

let over = false;
let last = 0;
process.stdin.on('end', () => (over = true)).resume();

async function work(seconds) {
  while (!over) {
    const number = `${label}-${++last}`;
    try {
      const result = await call({ name: 'count', arguments: { number, seconds } });
      tell({ number, text: result.content[0].text });
    } catch (fault) {
      tell({ number, error: String(fault?.message ?? fault) });
    }
    await sleep(PAUSE);
  }
}

client.onclose = () => over || tell({ closed: true });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' }));
tell({ ready: revision() });
await Promise.all(JSON.parse(STEADY_SECONDS).map(work));
tell({ over: true });
await client.close();
process.exit();
