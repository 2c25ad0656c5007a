#!/usr/bin/env node
// typescript.mjs SDK TRANSPORT URL: an official TypeScript client carries out the steps that stdin has as JSON.
//
//   SDK        v1 (@modelcontextprotocol/sdk) | v2 (@modelcontextprotocol/client) | v2-auto (asks for the newest era)
//   TRANSPORT  http | sse | ws | stdio (URL is a command as JSON)
//
// Prints a line of JSON for the connection and for each step: {"said": TEXT} or {"fault": TEXT}. servers.py tells what
// steps there are. The variable MCP_TOKEN is a bearer token; over WebSocket, where the SDK sends no header, it is offered
// as a second subprotocol.
import { readFileSync } from 'node:fs';
import { load, require } from '../../conformance/deps.mjs';

const [version, transport, url] = process.argv.slice(2);
const steps = JSON.parse(readFileSync(0, 'utf8'));
const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };
const INFO = { name: `typescript-${version}`, version: '1.0.0' };
const SECONDS = 20;
const TOKEN = process.env.MCP_TOKEN;
const OPTIONS = TOKEN ? { requestInit: { headers: { Authorization: `Bearer ${TOKEN}` } } } : {};

// ---- The two SDKs, made to look the same ----

async function v1() {
  const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
  const types = await load('@modelcontextprotocol/sdk/types.js');
  const { StreamableHTTPClientTransport } = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { SSEClientTransport } = await load('@modelcontextprotocol/sdk/client/sse.js');
  const { WebSocketClientTransport } = await load('@modelcontextprotocol/sdk/client/websocket.js');
  const { StdioClientTransport } = await load('@modelcontextprotocol/sdk/client/stdio.js');
  const { WebSocket } = require('ws');
  globalThis.WebSocket = TOKEN
    ? class extends WebSocket {
        constructor(url, subprotocol) {
          super(url, [subprotocol, `bearer.${TOKEN}`]);
        }
      }
    : WebSocket;
  const client = new Client(INFO, { capabilities: CAPABILITIES });
  // It keeps what was agreed upon to itself, but it tells its transport.
  let agreed;
  const telling = Transport =>
    class extends Transport {
      setProtocolVersion(version) {
        agreed = version;
        super.setProtocolVersion?.(version);
      }
    };
  const schemas = {
    'elicitation/create': types.ElicitRequestSchema,
    'sampling/createMessage': types.CreateMessageRequestSchema,
    'roots/list': types.ListRootsRequestSchema,
    'notifications/message': types.LoggingMessageNotificationSchema,
    'notifications/tools/list_changed': types.ToolListChangedNotificationSchema,
    'notifications/resources/updated': types.ResourceUpdatedNotificationSchema,
  };
  return {
    client,
    transports: {
      http: telling(StreamableHTTPClientTransport),
      sse: telling(SSEClientTransport),
      ws: telling(WebSocketClientTransport),
      stdio: telling(StdioClientTransport),
    },
    call: (params, options) => client.callTool(params, types.CallToolResultSchema, options),
    isModern: () => false,
    revision: () => agreed,
    onRequest: (method, answer) => client.setRequestHandler(schemas[method], answer),
    onNotification: (method, take) => client.setNotificationHandler(schemas[method], take),
  };
}

async function v2(mode) {
  const sdk = await load('@modelcontextprotocol/client');
  const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');
  const client = new sdk.Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
  return {
    client,
    transports: {
      http: sdk.StreamableHTTPClientTransport,
      sse: sdk.SSEClientTransport,
      stdio: StdioClientTransport,
    },
    call: (params, options) => client.callTool(params, options),
    isModern: () => client.getProtocolEra() === 'modern',
    revision: () => client.getNegotiatedProtocolVersion(),
    onRequest: (method, answer) => client.setRequestHandler(method, answer),
    onNotification: (method, take) => client.setNotificationHandler(method, take),
  };
}

const open = { v1, v2: () => v2('legacy'), 'v2-auto': () => v2('auto') }[version];
const { client, transports, call, isModern, revision, onRequest, onNotification } = await open();

// ---- What the client is asked and told ----

// Whatever the form wants to know, it is something blue, one or true.
const FILLED_IN = { string: 'blue', integer: 1, number: 1, boolean: true };
const filledIn = ({ type, enum: choices, default: given }) => given ?? choices?.[0] ?? FILLED_IN[type];

onRequest('elicitation/create', ({ params: { requestedSchema } }) => {
  const { properties, required = Object.keys(properties) } = requestedSchema;
  return {
    action: 'accept',
    content: Object.fromEntries(required.map(name => [name, filledIn(properties[name])])),
  };
});
onRequest('sampling/createMessage', ({ params }) => ({
  role: 'assistant',
  model: 'loud',
  content: { type: 'text', text: params.messages[0].content.text.toUpperCase() },
}));
onRequest('roots/list', () => ({ roots: [{ uri: 'file:///here' }, { uri: 'file:///there' }] }));

const told = {
  'notifications/message': [],
  'notifications/tools/list_changed': [],
  'notifications/resources/updated': [],
};
const waiting = {};
for (const method of Object.keys(told))
  onNotification(method, ({ params }) => {
    told[method].push(params ?? {});
    waiting[method]?.();
  });

async function heard(method) {
  while (!told[method].length) await new Promise(resolve => (waiting[method] = resolve));
  return told[method].shift();
}

// ---- The steps ----

const textOf = ({ content, isError }) =>
  (isError ? 'error: ' : '') + content.map(({ type, text }) => text ?? `(${type})`).join('\n');
const names = things => things.map(({ name }) => name).join(', ');

const carryOut = {
  tools: async () => names((await client.listTools()).tools),
  resources: async () => names((await client.listResources()).resources),
  prompts: async () => names((await client.listPrompts()).prompts),
  read: async ({ uri }) => (await client.readResource({ uri })).contents[0].text,
  prompt: async ({ name, arguments: args }) =>
    (await client.getPrompt({ name, arguments: args })).messages[0].content.text,
  call: async ({ name, arguments: args }) => textOf(await call({ name, arguments: args })),
  async progress({ name, arguments: args }) {
    const seen = [];
    // Without a total it is SDK v2 itself, which counts the rounds of input that the call has required.
    const onprogress = ({ progress, total }) => total && seen.push(`${progress}/${total}`);
    await call({ name, arguments: args }, { onprogress });
    return seen.join(' ');
  },
  async cancel({ name, arguments: args }) {
    const stop = new AbortController();
    const slow = call({ name, arguments: args }, { signal: stop.signal, onprogress: () => stop.abort('enough') });
    const how = await slow.then(
      result => `not cancelled: ${textOf(result)}`,
      () => 'cancelled',
    );
    await client.listTools(); // a client that is closed at once may not have sent its notification yet
    return how;
  },
  async log({ name, arguments: args }) {
    await call({ name, arguments: args });
    return String((await heard('notifications/message')).data);
  },
  async 'list change'({ name }) {
    const listening = isModern() && (await client.listen({ toolsListChanged: true }));
    await call({ name, arguments: {} });
    await heard('notifications/tools/list_changed');
    if (listening) await listening.close();
    return 'the tools have changed';
  },
  async subscription({ name, uri }) {
    const listening = isModern() && (await client.listen({ resourceSubscriptions: [uri] }));
    if (!listening) await client.subscribeResource({ uri });
    await call({ name, arguments: { uri } });
    const updated = await heard('notifications/resources/updated');
    if (listening) await listening.close();
    else await client.unsubscribeResource({ uri });
    return `${updated.uri} has changed`;
  },
};

const late = () =>
  new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`no end within ${SECONDS} s`)), SECONDS * 1000).unref(),
  );

async function report(work) {
  let line;
  try {
    line = { said: await Promise.race([work(), late()]) };
  } catch (fault) {
    line = { fault: String(fault?.message ?? fault) };
  }
  process.stdout.write(JSON.stringify(line) + '\n');
  return 'said' in line;
}

function openTransport() {
  if (transport !== 'stdio') return new transports[transport](new URL(url), OPTIONS);
  const [command, ...args] = JSON.parse(url);
  return new transports.stdio({ command, args, env: process.env, stderr: 'inherit' });
}

const connected = await report(async () => {
  await client.connect(openTransport());
  return `${revision() ?? ''} ${client.getServerVersion().name}`.trim();
});
if (connected) for (const step of steps) await report(() => carryOut[step.do](step));
await Promise.race([client.transport?.terminateSession?.(), late()]).catch(() => {});
await client.close().catch(() => {});
// What was written before is in the pipe then.
process.stdout.write('', () => process.exit());
