#!/usr/bin/env node
// client.mjs SDK TRANSPORT URL: an official TypeScript client against a bridge in front of examples/server.py.
//
//   SDK        v1 (@modelcontextprotocol/sdk) | v2 (@modelcontextprotocol/client) | v2-auto (asks for the newest era)
//   TRANSPORT  http | sse | ws
//
// The token is in the environment, TOKEN. Prints `ok NAME` or `failed NAME: WHY` for each check.
import assert from 'node:assert/strict';
import { load, require } from '../../conformance/deps.mjs';

const [version, transport, url] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };

// ---- The two SDKs, made to look the same ----

const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };
const INFO = { name: `typescript-${version}`, version: '1.0.0' };

// A browser cannot send a header with its WebSocket; a program can.
class AuthorizedWebSocket extends require('ws') {
  constructor(address, protocols) {
    super(address, protocols, { headers });
  }
}

async function v1() {
  const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
  const types = await load('@modelcontextprotocol/sdk/types.js');
  const { StreamableHTTPClientTransport } = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { SSEClientTransport } = await load('@modelcontextprotocol/sdk/client/sse.js');
  const { WebSocketClientTransport } = await load('@modelcontextprotocol/sdk/client/websocket.js');
  globalThis.WebSocket = AuthorizedWebSocket;
  const client = new Client(INFO, { capabilities: CAPABILITIES });
  return {
    client,
    transports: {
      http: StreamableHTTPClientTransport,
      sse: SSEClientTransport,
      ws: WebSocketClientTransport,
    },
    call: (name, args, options) =>
      client.callTool({ name, arguments: args }, types.CallToolResultSchema, options),
    isModern: () => false,
    onRequest: (method, answer) =>
      client.setRequestHandler(
        {
          'elicitation/create': types.ElicitRequestSchema,
          'sampling/createMessage': types.CreateMessageRequestSchema,
          'roots/list': types.ListRootsRequestSchema,
        }[method],
        answer,
      ),
    onNotification: (method, take) =>
      client.setNotificationHandler(
        {
          'notifications/message': types.LoggingMessageNotificationSchema,
          'notifications/tools/list_changed': types.ToolListChangedNotificationSchema,
          'notifications/resources/updated': types.ResourceUpdatedNotificationSchema,
        }[method],
        take,
      ),
  };
}

async function v2(mode) {
  const sdk = await load('@modelcontextprotocol/client');
  const client = new sdk.Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
  return {
    client,
    transports: { http: sdk.StreamableHTTPClientTransport, sse: sdk.SSEClientTransport },
    call: (name, args, options, _meta) => client.callTool({ name, arguments: args, _meta }, options),
    isModern: () => client.getProtocolEra() === 'modern',
    onRequest: (method, answer) => client.setRequestHandler(method, answer),
    onNotification: (method, take) => client.setNotificationHandler(method, take),
  };
}

const open = { v1, v2: () => v2('legacy'), 'v2-auto': () => v2('auto') }[version];
const { client, transports, call, isModern, onRequest, onNotification } = await open();
const text = result => result.content[0].text;

// ---- What the client is asked and told ----

onRequest('elicitation/create', ({ params }) => ({
  action: 'accept',
  content: { answer: `re: ${params.message}` },
}));
onRequest('sampling/createMessage', ({ params }) => ({
  role: 'assistant',
  model: 'loud',
  content: { type: 'text', text: params.messages[0].content.text.toUpperCase() },
}));
onRequest('roots/list', () => ({ roots: [{ uri: 'file:///here' }, { uri: 'file:///there' }] }));

const TOLD = ['notifications/message', 'notifications/tools/list_changed', 'notifications/resources/updated'];
const told = Object.fromEntries(TOLD.map(method => [method, []]));
const waiting = {};
for (const method of TOLD)
  onNotification(method, ({ params }) => {
    told[method].push(params);
    waiting[method]?.();
  });

async function heard(method) {
  while (!told[method].length) await new Promise(resolve => (waiting[method] = resolve));
  return told[method].shift();
}

// ---- The checks ----

const checks = {
  async 'initialize'() {
    await client.connect(new transports[transport](new URL(url), { requestInit: { headers } }));
    assert.equal(client.getServerVersion().name, 'example');
    assert.ok(client.getServerCapabilities().tools.listChanged);
    // On HTTP+SSE nobody speaks the newest era, and the client falls back.
    assert.equal(isModern(), version === 'v2-auto' && transport === 'http');
  },
  async 'list tools'() {
    const { tools } = await client.listTools();
    assert.ok(tools.some(tool => tool.name === 'echo'));
  },
  async 'call a tool'() {
    assert.equal(text(await call('add', { a: 2, b: 40 })), '42');
  },
  async 'text arrives as it was sent'() {
    const words = 'line\nbreak "quotes" \\ \t \u2028 é 🦀';
    assert.equal(text(await call('echo', { text: words })), words);
  },
  async 'a large request and answer'() {
    const words = 'y'.repeat(1_000_000);
    assert.equal(text(await call('echo', { text: words })), words);
  },
  async 'progress'() {
    const seen = [];
    const onprogress = ({ progress, total }) => seen.push([progress, total]);
    await call('slow', { seconds: 0.1, steps: 4 }, { onprogress });
    // The last report comes together with the answer, and SDK v2 then no longer knows whom to tell.
    assert.deepEqual(
      seen.slice(0, 4),
      [0, 1, 2, 3].map(step => [step, 4]),
    );
  },
  async 'logging'() {
    const wanted = { 'io.modelcontextprotocol/logLevel': 'warning' };
    if (!isModern()) await client.setLoggingLevel('warning');
    await call('log', { text: 'too low', level: 'info' }, {}, wanted);
    await call('log', { text: 'high enough', level: 'warning' }, {}, wanted);
    const { level, data } = await heard('notifications/message');
    assert.deepEqual([level, data], ['warning', 'high enough']);
  },
  async 'elicitation'() {
    assert.equal(text(await call('ask', { question: 'why?' })), 'accept: re: why?');
  },
  async 'sampling'() {
    assert.equal(text(await call('think', { prompt: 'hello' })), 'loud: HELLO');
  },
  async 'roots'() {
    assert.equal(text(await call('roots', {})), 'file:///here\nfile:///there');
  },
  async 'a changed list'() {
    if (isModern()) await client.listen({ toolsListChanged: true });
    assert.equal(text(await call('toggle', {})), 'on');
    await heard('notifications/tools/list_changed');
    const { tools } = await client.listTools();
    assert.ok(tools.some(tool => tool.name === 'extra'));
  },
  async 'a changed resource'() {
    const uri = 'example://greeting';
    if (isModern()) await client.listen({ resourceSubscriptions: [uri] });
    else await client.subscribeResource({ uri });
    assert.equal(text(await call('touch', { uri })), 'touched');
    assert.equal((await heard('notifications/resources/updated')).uri, uri);
  },
  async 'resources'() {
    assert.equal((await client.readResource({ uri: 'example://square/12' })).contents[0].text, '144');
    await assert.rejects(client.readResource({ uri: 'example://nothing' }), {
      code: isModern() ? -32602 : -32002,
    });
  },
  async 'prompts and completion'() {
    const { messages } = await client.getPrompt({ name: 'greet', arguments: { name: 'Ada' } });
    assert.equal(messages[0].content.text, 'Say hello to Ada.');
    const ref = { type: 'ref/prompt', name: 'greet' };
    const { completion } = await client.complete({ ref, argument: { name: 'name', value: 'A' } });
    assert.deepEqual(completion.values, ['Ada', 'Alan']);
  },
  async 'ping'() {
    if (isModern()) await assert.rejects(client.ping());
    else await client.ping();
  },
  async 'cancellation'() {
    const stop = new AbortController();
    const slow = call(
      'slow',
      { seconds: 60 },
      { signal: stop.signal, onprogress: () => stop.abort('enough') },
    );
    await assert.rejects(slow);
    assert.equal(text(await call('echo', { text: 'still here' })), 'still here');
  },
  async 'forty calls at once'() {
    const calls = Array.from({ length: 40 }, (_, i) => call('echo', { text: `call ${i}` }));
    const answers = (await Promise.all(calls)).map(text);
    assert.deepEqual(
      answers,
      answers.map((_, i) => `call ${i}`),
    );
  },
  async 'a server that crashes is replaced'() {
    await assert.rejects(call('crash', { code: 3 }), /3/);
    assert.equal(text(await call('echo', { text: 'back' })), 'back');
  },
  async 'goodbye'() {
    await client.transport.terminateSession?.();
    await client.close();
  },
};

const late = seconds =>
  new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`no end within ${seconds} s`)), seconds * 1000).unref(),
  );

for (const [name, check] of Object.entries(checks))
  try {
    await Promise.race([check(), late(15)]);
    console.log(`ok ${name}`);
  } catch (fault) {
    console.log(`failed ${name}: ${String(fault?.message ?? fault).split('\n')[0]}`);
  }
process.exit();
