#!/usr/bin/env node
// What the extension scenarios of the conformance suite expect of a server, on stdio without any SDK: skills (SEP-2640) and
// tasks (SEP-2663, of 2026-07-28 only). --era legacy, modern or dual (the default), as raw.mjs.
import { createHash, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';

const META = 'io.modelcontextprotocol/';
const MODERN = '2026-07-28';
const [SKILLS, TASKS] = [`${META}skills`, `${META}tasks`];
const at = process.argv.indexOf('--era');
const era = at < 0 ? 'dual' : process.argv[at + 1];
const send = message => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');

class RpcError extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, { code, data });
  }
}

const content = (text, more = {}) => ({ content: [{ type: 'text', text }], ...more });

// ---- Skills ----

const ROOT = 'skill://fixture';
const description = 'A skill of the fixture.';
const files = {
  [`${ROOT}/SKILL.md`]: `---\nname: fixture\ndescription: ${description}\n---\n# Fixture\n`,
  [`${ROOT}/docs/guide.md`]: '# Guide\n',
};
const skill = {
  uri: `${ROOT}/SKILL.md`,
  frontmatter: { name: 'fixture', description },
  resources: Object.entries(files).map(([uri, text]) => ({
    uri,
    digest: `sha256:${createHash('sha256').update(text).digest('hex')}`,
    size: Buffer.byteLength(text),
  })),
};
const mimeType = 'text/markdown';
const listed = uri => ({ uri, name: uri === skill.uri ? 'fixture' : uri, description, mimeType });
const cached = { ttlMs: 0, cacheScope: 'private' };

function known(uri, found) {
  if (!found) throw new RpcError(-32602, `unknown: ${uri}`, { uri });
  return found;
}

const methods = {
  'tools/list': () => ({
    tools: Object.keys(tools).map(name => ({ name, inputSchema: { type: 'object' } })),
    ...cached,
  }),
  'resources/list': () => ({ resources: Object.keys(files).map(listed), ...cached }),
  'resources/read': ({ uri }) => ({
    contents: [{ uri, mimeType, text: known(uri, files[uri]) }],
    ...cached,
  }),
  'resources/directory/read': ({ uri }) => {
    known(uri, uri === ROOT || uri === `${ROOT}/docs`);
    if (uri !== ROOT) return { resources: [listed(`${ROOT}/docs/guide.md`)] };
    const docs = { uri: `${ROOT}/docs`, name: 'docs', mimeType: 'inode/directory' };
    return { resources: [listed(skill.uri), docs] };
  },
  'skills/list': () => ({ skills: [skill], ...cached }),
  'skills/get': ({ uri }) => ({ skill: known(uri, uri === skill.uri && skill), ...cached }),
};

// ---- Tools, some of which become tasks for a client with the extension ----

const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000));
const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
const form = message => ({ method: 'elicitation/create', params: { mode: 'form', message, requestedSchema } });
const tools = {
  greet: { sync: true, run: ({ name }) => content(`Hello, ${name}!`) },
  slow_compute: {
    run: async ({ seconds }) => {
      await sleep(seconds);
      return content(`computed for ${seconds} s`);
    },
  },
  failing_job: {
    required: true,
    run: async () => {
      await sleep(1);
      return content('as asked', { isError: true });
    },
  },
  protocol_error_job: {
    run: async () => {
      throw new RpcError(-32603, 'as asked');
    },
  },
  confirm_delete: { run: async (_, ask) => content(JSON.stringify(await ask({ confirm: form('Delete it?') }))) },
  multi_input: {
    run: async (_, ask) => content(JSON.stringify(await ask({ one: form('One?'), two: form('Two?') }))),
  },
  test_tool_with_task: {
    required: true,
    first: { user_name: form('Who?') },
    run: async (_, ask, given) => content(JSON.stringify(given)),
  },
};
const tasks = new Map();

function described({ id, status, created, updated }) {
  const [createdAt, lastUpdatedAt] = [created, updated].map(time => new Date(time).toISOString());
  return { taskId: id, status, createdAt, lastUpdatedAt, ttlMs: 300000, pollIntervalMs: 100 };
}

function become(task, status, more = {}) {
  if (['completed', 'failed', 'cancelled'].includes(task.status)) return;
  Object.assign(task, { status, updated: Date.now(), inputRequests: undefined }, more);
}

function started(tool, args, given) {
  const task = { id: randomUUID(), status: 'working', created: Date.now(), updated: Date.now() };
  tasks.set(task.id, task);
  const ask = requests =>
    new Promise(resolve => {
      become(task, 'input_required', { inputRequests: requests, answers: {}, resolve });
    });
  tool
    .run(args, ask, given)
    .then(result => become(task, 'completed', { result: { ...result, resultType: 'complete' } }))
    .catch(({ code, message }) => become(task, 'failed', { error: { code, message } }));
  return { resultType: 'task', ...described(task) };
}

function task({ taskId }) {
  return known(taskId, tasks.get(taskId));
}

const taskMethods = {
  'tasks/get': params => {
    const { inputRequests, result, error, ...found } = task(params);
    return { ...described(found), inputRequests, result, error };
  },
  'tasks/update': params => {
    const found = task(params);
    for (const [key, answer] of Object.entries(params.inputResponses ?? {}))
      if (found.inputRequests?.[key]) {
        found.answers[key] = answer;
        const { [key]: _, ...left } = found.inputRequests;
        found.inputRequests = left;
      }
    if (found.status === 'input_required' && !Object.keys(found.inputRequests).length) {
      become(found, 'working');
      found.resolve(found.answers);
    }
    return {};
  },
  'tasks/cancel': params => {
    become(task(params), 'cancelled');
    return {};
  },
};

const requiredCapabilities = { extensions: { [TASKS]: {} } };
const missing = () => new RpcError(-32021, 'tasks are needed', { requiredCapabilities });

async function call({ name, arguments: args = {}, inputResponses }, withTasks) {
  const tool = known(name, tools[name]);
  if (tool.sync) return tool.run(args);
  if (!withTasks) {
    if (tool.required) throw missing();
    return tool.run(args, async () => ({}));
  }
  if (tool.first && !inputResponses)
    return { resultType: 'input_required', inputRequests: tool.first, requestState: 'first' };
  return started(tool, args, inputResponses);
}

// ---- Both eras ----

function offered(modern) {
  const extensions = { [SKILLS]: { directoryRead: true }, ...(modern ? { [TASKS]: {} } : {}) };
  return { tools: {}, resources: {}, extensions };
}

async function answered({ method, params = {} }) {
  const theirs = params._meta?.[`${META}clientCapabilities`];
  const modern = theirs !== undefined;
  if (era !== 'dual' && modern !== (era === 'modern')) throw new RpcError(-32601, 'not of this era');
  const withTasks = theirs?.extensions?.[TASKS] !== undefined;
  const { protocolVersion } = params;
  const serverInfo = { name: 'extended', version: '1' };
  if (!modern && method === 'initialize') return { protocolVersion, capabilities: offered(false), serverInfo };
  if (!modern && method === 'ping') return {};
  if (modern && method === 'server/discover')
    return { supportedVersions: [MODERN], capabilities: offered(true), ...cached };
  if (method === 'tools/call') return call(params, withTasks);
  if (modern && taskMethods[method]) {
    if (!withTasks) throw missing();
    return taskMethods[method](params);
  }
  if (!methods[method]) throw new RpcError(-32601, `no such method: ${method}`);
  return methods[method](params);
}

createInterface({ input: process.stdin }).on('line', async line => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined || !method) return;
  try {
    const result = await answered({ method, params });
    const modern = params?._meta?.[`${META}protocolVersion`] !== undefined;
    send({ id, result: modern ? { resultType: 'complete', ...result } : result });
  } catch ({ code = -32603, message, data }) {
    send({ id, error: { code, message, data } });
  }
});
