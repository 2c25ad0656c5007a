#!/usr/bin/env node
// typescript.mjs VERSION TRANSPORT: an HTTP server with the tools of the matrix of remote servers; it prints its port.
//
//   VERSION    v1 (@modelcontextprotocol/sdk) | v2 (@modelcontextprotocol/server: both eras)
//   TRANSPORT  http | json (HTTP that answers with JSON where it can) | sse (v1 only)
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { load } from '../../conformance/deps.mjs';
import { legacyInputs, modernInputs } from '../../conformance/servers/fixture.mjs';

const [version, transport] = process.argv.slice(2);
const info = { name: 'remote', version: '1.0.0' };
const capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
const GREETING = 'example://greeting';
const string = { type: 'string' };
const number = { type: 'number' };
const schema = (properties, required = Object.keys(properties)) => ({ type: 'object', properties, required });
const says = text => ({ content: [{ type: 'text', text }] });
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

const TOOLS = {
  echo: [schema({ text: string }), ({ text }) => says(text)],
  add: [schema({ a: number, b: number }), ({ a, b }) => says(String(a + b))],
  big: [schema({ size: number }), ({ size }) => says('é'.repeat(size))],
  fail: [schema({ text: string }), ({ text }) => ({ ...says(text), isError: true })],
  slow: [
    schema({ seconds: number, steps: number }, []),
    async ({ seconds = 1, steps = 10 }, call) => {
      for (let step = 0; step < steps && !call.signal.aborted; step++) {
        if (call.token !== undefined)
          await call.notify('notifications/progress', { progressToken: call.token, progress: step, total: steps });
        await sleep((1000 * seconds) / steps);
      }
      return says(`done in ${seconds} s`);
    },
  ],
  log: [
    schema({ text: string }),
    async ({ text }, call) => {
      await call.notify('notifications/message', { level: 'info', data: text });
      return says('logged');
    },
  ],
  ask: [
    schema({ question: string }),
    async ({ question: message }, call) => {
      const params = { mode: 'form', message, requestedSchema: schema({ answer: string }) };
      const { answer } = await call.inputs({ answer: { method: 'elicitation/create', params } });
      return says(`${answer.action}: ${answer.content.answer}`);
    },
  ],
  think: [
    schema({ prompt: string }),
    async ({ prompt }, call) => {
      const params = { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 100 };
      const { thought } = await call.inputs({ thought: { method: 'sampling/createMessage', params } });
      return says(`${thought.model}: ${thought.content.text}`);
    },
  ],
  touch: [
    schema({ uri: string }),
    async ({ uri }, call) => {
      await call.updated(uri);
      return says('touched');
    },
  ],
};
const resources = [{ uri: GREETING, name: 'greeting', mimeType: 'text/plain' }];
const METHODS = {
  'tools/list': () => ({
    tools: Object.entries(TOOLS).map(([name, [inputSchema]]) => ({ name, inputSchema })),
  }),
  'tools/call': ({ name, arguments: args = {} }, call) => TOOLS[name][1](args, call),
  'resources/list': () => ({ resources }),
  'resources/read': ({ uri }) => ({ contents: [{ uri, mimeType: 'text/plain', text: 'Hello.' }] }),
};

// ---- SDK v1

async function v1() {
  const { Server } = await load('@modelcontextprotocol/sdk/server/index.js');
  const { StreamableHTTPServerTransport } = await load('@modelcontextprotocol/sdk/server/streamableHttp.js');
  const { SSEServerTransport } = await load('@modelcontextprotocol/sdk/server/sse.js');
  const types = await load('@modelcontextprotocol/sdk/types.js');
  const requests = {
    'tools/list': types.ListToolsRequestSchema,
    'tools/call': types.CallToolRequestSchema,
    'resources/list': types.ListResourcesRequestSchema,
    'resources/read': types.ReadResourceRequestSchema,
  };
  const results = {
    'elicitation/create': types.ElicitResultSchema,
    'sampling/createMessage': types.CreateMessageResultSchema,
  };
  const make = () => {
    const server = new Server(info, { capabilities });
    for (const [method, one] of Object.entries(requests))
      server.setRequestHandler(one, ({ params = {} }, extra) =>
        METHODS[method](params, {
          signal: extra.signal,
          token: params._meta?.progressToken,
          notify: (name, about) => extra.sendNotification({ method: name, params: about }),
          updated: uri => server.sendResourceUpdated({ uri }),
          inputs: legacyInputs((name, about) => extra.sendRequest({ method: name, params: about }, results[name])),
        }),
      );
    for (const one of [types.SubscribeRequestSchema, types.UnsubscribeRequestSchema])
      server.setRequestHandler(one, () => ({}));
    return server;
  };

  const sessions = new Map();
  if (transport === 'sse')
    return async (request, response) => {
      const { pathname, searchParams } = new URL(request.url, 'http://localhost');
      if (request.method === 'GET' && pathname === '/sse') {
        const opened = new SSEServerTransport('/messages', response);
        sessions.set(opened.sessionId, opened);
        await make().connect(opened);
      } else if (request.method === 'POST' && pathname === '/messages')
        await sessions.get(searchParams.get('sessionId')).handlePostMessage(request, response);
      // No Streamable HTTP here.
      else response.writeHead(pathname === '/sse' ? 405 : 404).end();
    };
  return async (request, response) => {
    const known = sessions.get(request.headers['mcp-session-id']);
    if (known) return known.handleRequest(request, response);
    if (request.headers['mcp-session-id']) return response.writeHead(404).end();
    const opened = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: transport === 'json',
      onsessioninitialized: id => sessions.set(id, opened),
      onsessionclosed: id => sessions.delete(id),
    });
    await make().connect(opened);
    return opened.handleRequest(request, response);
  };
}

// ---- SDK v2

async function v2() {
  const sdk = await load('@modelcontextprotocol/server');
  const make = ({ era } = {}) => {
    const mcp = new sdk.McpServer(info, { capabilities });
    const { server } = mcp;
    for (const [method, run] of Object.entries(METHODS))
      server.setRequestHandler(method, async ({ params = {} }, { mcpReq: request }) => {
        const modern = era === 'modern' || Boolean(request.envelope);
        const state = request.requestState;
        const given = {
          inputResponses: request.inputResponses,
          requestState: typeof state === 'function' ? state() : state,
        };
        try {
          return await run(params, {
            signal: request.signal,
            token: request._meta?.progressToken,
            notify: (name, about) => request.notify({ method: name, params: about }),
            updated: uri => (modern ? handler.notify.resourceUpdated(uri) : server.sendResourceUpdated({ uri })),
            inputs: modern
              ? modernInputs(given, null)
              : legacyInputs((name, about) => request.send({ method: name, params: about })),
          });
        } catch (fault) {
          // A round of input is a result.
          if (fault.result) return fault.result;
          throw fault;
        }
      });
    for (const method of ['resources/subscribe', 'resources/unsubscribe'])
      server.setRequestHandler(method, () => ({}));
    return mcp;
  };
  const handler = sdk.createMcpHandler(make, { legacy: 'reject' });
  const sessions = new Map();

  async function legacy(request) {
    const id = request.headers.get('mcp-session-id');
    const known = sessions.get(id);
    if (known) return known.handleRequest(request);
    if (id) return new Response(null, { status: 404 });
    const opened = new sdk.WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: transport === 'json',
      onsessioninitialized: name => void sessions.set(name, opened),
      onsessionclosed: name => void sessions.delete(name),
    });
    await make({ era: 'legacy' }).connect(opened);
    return opened.handleRequest(request);
  }

  return async (incoming, response) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const left = new AbortController();
    response.on('close', () => left.abort());
    const request = new Request(`http://127.0.0.1${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      body: chunks.length ? Buffer.concat(chunks) : undefined,
      signal: left.signal,
    });
    const answer = await ((await sdk.isLegacyRequest(request.clone())) ? legacy(request) : handler.fetch(request));
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.flushHeaders();
    if (answer.body) Readable.fromWeb(answer.body).on('error', () => response.destroy()).pipe(response);
    else response.end();
  };
}

const serve = await { v1, v2 }[version]();
const listening = createServer((request, response) =>
  serve(request, response).catch(fault => {
    process.stderr.write(`${fault?.stack ?? fault}\n`);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }),
).listen(0, '127.0.0.1', () => process.stdout.write(`${listening.address().port}\n`));
