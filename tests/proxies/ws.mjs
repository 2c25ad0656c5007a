#!/usr/bin/env node
// ws.mjs URL: call a tool over a WebSocket with the package ws, which can send a header. MCP_TOKEN is the bearer token.
import { require } from '../conformance/deps.mjs';

const { WebSocket } = require('ws');
const socket = new WebSocket(process.argv[2], { headers: { Authorization: `Bearer ${process.env.MCP_TOKEN}` } });
const fail = text => {
  process.stderr.write(`${text}\n`);
  process.exit(1);
};
const late = setTimeout(() => fail('no answer within 20 s'), 20000);
const send = message => socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }));

socket.on('error', fault => fail(fault.message));
socket.on('close', (code, reason) => fail(`closed: ${code} ${reason}`));
socket.on('open', () =>
  send({
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'ws', version: '8' } },
  }),
);
socket.on('message', data => {
  const message = JSON.parse(data);
  if (message.id === 1) {
    send({ method: 'notifications/initialized' });
    send({ id: 2, method: 'tools/call', params: { name: 'echo', arguments: { text: 'as sent' } } });
  } else if (message.id === 2) {
    clearTimeout(late);
    process.stdout.write(`${data}\n`);
    process.exit(0);
  }
});
