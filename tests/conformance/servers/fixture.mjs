// What the conformance suite expects of a server, of either era, independent of SDK and transport.
//
// ts_v1.mjs, ts_v2.mjs and raw.mjs put it on stdio. A tool gets its arguments and a `call`:
//   call.modern                   whether the request is of revision 2026-07-28
//   call.capabilities             what the client has declared
//   call.progressToken, logLevel  what the client chose, if anything
//   call.notify(method, params)   send a notification that belongs to this request
//   call.changed(kind)            tell that the list of tools, prompts or resources has changed
//   call.inputs({key: request})   ask the client for all of these at once and wait for the answers, by key. Before
//                                 2026-07-28 these are requests; since then the call ends in `input_required`, and is
//                                 run again from its beginning with the answers that there are.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

export const info = { name: 'conformance-fixture', version: '1.0.0' };
export const MODERN = '2026-07-28';
export const META = 'io.modelcontextprotocol/';
export const capabilities = {
  tools: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  prompts: { listChanged: true },
  logging: {},
  completions: {},
};

export class RpcError extends Error {
  constructor(code, message, data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

// ---- Input of the client, in both eras ----

const CAPABILITY = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
};
const key = randomBytes(32);
const tag = text => createHmac('sha256', key).update(text).digest('base64url');

function seal(answers) {
  const text = Buffer.from(JSON.stringify(answers)).toString('base64url');
  return `${text}.${tag(text)}`;
}

function unseal(state) {
  const [text, given = ''] = state.split('.');
  const [want, got] = [Buffer.from(tag(text)), Buffer.from(given)];
  if (want.length !== got.length || !timingSafeEqual(want, got))
    throw new RpcError(-32602, 'requestState is not what it was');
  return JSON.parse(Buffer.from(text, 'base64url').toString());
}

// Whether an answer is one that the tool can go on with; of a modern client it is asked for again otherwise.
function answers(request, answer) {
  if (request.method === 'roots/list') return Array.isArray(answer?.roots);
  if (request.method === 'sampling/createMessage') return answer?.content !== undefined;
  if (answer?.action !== 'accept') return answer?.action !== undefined;
  const { properties, required = [] } = request.params.requestedSchema;
  return required.every(name => typeof answer.content?.[name] === properties[name].type);
}

class InputRequired extends Error {
  constructor(result) {
    super('input is required');
    this.result = result;
  }
}

// `call.inputs` of a modern request: the answers of earlier rounds are in its requestState. `declared` is null where
// the SDK looks at the client's capabilities itself.
export function modernInputs({ inputResponses = {}, requestState }, declared) {
  const known = { ...(requestState === undefined ? {} : unseal(requestState)), ...inputResponses };
  return async requests => {
    const missing = Object.entries(requests).filter(([name, one]) => !answers(one, known[name]));
    if (!missing.length) return known;
    for (const [, { method }] of missing) {
      const needed = CAPABILITY[method];
      if (declared !== null && declared?.[needed] === undefined)
        throw new RpcError(-32021, `the client has no ${needed}`, { requiredCapabilities: { [needed]: {} } });
    }
    const asked = Object.fromEntries(missing);
    for (const name of Object.keys(asked)) delete known[name];
    throw new InputRequired({ resultType: 'input_required', inputRequests: asked, requestState: seal(known) });
  };
}

// `call.inputs` of a legacy request: real requests, all at once.
export function legacyInputs(ask) {
  return async requests =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(requests).map(async ([name, { method, params }]) => [name, await ask(method, params)]),
      ),
    );
}

const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const string = { type: 'string' };
const object = (properties = {}, required = []) => ({ type: 'object', properties, required });
const text = words => ({ type: 'text', text: words });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const audio = { type: 'audio', data: WAV, mimeType: 'audio/wav' };
const embedded = (uri, mimeType, words) => ({ type: 'resource', resource: { uri, mimeType, text: words } });
const says = words => ({ content: [text(words)] });

// ---- Tools: description, input schema, what it does ----

// Asks the client and says how it went; a client that cannot answer makes no error of the call.
async function asking(call, method, params, describe) {
  try {
    return says(describe((await call.inputs({ question: { method, params } })).question));
  } catch (fault) {
    if (fault instanceof InputRequired) throw fault;
    return says(`${method} failed: ${fault.message}`);
  }
}

const elicit = (message, properties) => ({
  method: 'elicitation/create',
  params: { mode: 'form', message, requestedSchema: object(properties, Object.keys(properties)) },
});
const sample = (words, maxTokens) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: text(words) }], maxTokens },
});
const roots = { method: 'roots/list', params: {} };
const name = { name: string };

const form = (call, message, properties, required = []) =>
  asking(
    call,
    'elicitation/create',
    { message, requestedSchema: object(properties, required) },
    reply => `Elicitation completed: action=${reply.action}, content=${JSON.stringify(reply.content ?? {})}`,
  );

const titled = (prefix, word) =>
  ['First', 'Second', 'Third'].map((nth, i) => ({ const: `${prefix}${i + 1}`, title: `${nth} ${word}` }));

const several = items => ({ type: 'array', minItems: 1, maxItems: 3, items });

const tools = {
  test_simple_text: ['Text', object(), () => says('This is a simple text response for testing.')],
  test_image_content: ['An image', object(), () => ({ content: [image] })],
  test_audio_content: ['A sound', object(), () => ({ content: [audio] })],
  test_embedded_resource: [
    'A resource',
    object(),
    () => ({
      content: [embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')],
    }),
  ],
  test_multiple_content_types: [
    'Text, an image and a resource',
    object(),
    () => ({
      content: [
        text('Multiple content types test:'),
        image,
        embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ],
    }),
  ],
  test_error_handling: [
    'Always fails',
    object(),
    () => ({ ...says('This tool intentionally returns an error for testing'), isError: true }),
  ],
  test_tool_with_logging: [
    'Three log messages',
    object(),
    async (_, call) => {
      for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
        await call.log(data);
        await sleep(50);
      }
      return says('Tool with logging executed successfully');
    },
  ],
  test_tool_with_progress: [
    'Progress 0, 50, 100',
    object(),
    async (_, call) => {
      const { progressToken } = call;
      if (progressToken === undefined) return says('no progress token');
      for (const progress of [0, 50, 100]) {
        const message = `Completed step ${progress} of 100`;
        await call.notify('notifications/progress', { progressToken, progress, total: 100, message });
        await sleep(50);
      }
      return says(String(progressToken));
    },
  ],
  test_reconnection: [
    'Slow; who stands between may close the stream and have the client come back',
    object(),
    async () => {
      await sleep(300);
      return says('Reconnection test completed');
    },
  ],
  test_sampling: [
    'Asks the client’s model',
    object({ prompt: string }, ['prompt']),
    ({ prompt }, call) =>
      asking(
        call,
        'sampling/createMessage',
        { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 },
        reply => `LLM response: ${reply.content?.text ?? 'No response'}`,
      ),
  ],
  test_elicitation: [
    'Asks the user',
    object({ message: string }, ['message']),
    ({ message }, call) =>
      form(call, message, { response: { ...string, description: "User's response" } }, ['response']),
  ],
  test_elicitation_sep1034_defaults: [
    'A form with a default of every type',
    object(),
    (_, call) =>
      form(call, 'Please review the form', {
        name: { ...string, default: 'John Doe' },
        age: { type: 'integer', default: 30 },
        score: { type: 'number', default: 95.5 },
        status: { ...string, enum: ['active', 'inactive', 'pending'], default: 'active' },
        verified: { type: 'boolean', default: true },
      }),
  ],
  test_elicitation_sep1330_enums: [
    'A form with every kind of choice',
    object(),
    (_, call) =>
      form(call, 'Please select options', {
        untitledSingle: { ...string, enum: ['option1', 'option2', 'option3'] },
        titledSingle: { ...string, oneOf: titled('value', 'Option') },
        legacyEnum: {
          ...string,
          enum: ['opt1', 'opt2', 'opt3'],
          enumNames: ['Option One', 'Option Two', 'Option Three'],
        },
        untitledMulti: several({ ...string, enum: ['option1', 'option2', 'option3'] }),
        titledMulti: several({ anyOf: titled('value', 'Choice') }),
      }),
  ],
  json_schema_2020_12_tool: [
    'Keywords of JSON Schema 2020-12, which must arrive as they are',
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: { $anchor: 'addressDef', type: 'object', properties: { street: string, city: string } },
      },
      properties: {
        name: string,
        address: { $ref: '#/$defs/address' },
        contactMethod: { ...string, enum: ['phone', 'email'] },
        phone: string,
        email: string,
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    args => says(JSON.stringify(args)),
  ],
  test_x_mcp_header: [
    'An argument that a header mirrors',
    object({ region: { ...string, 'x-mcp-header': 'Region' }, level: { type: 'integer' } }),
    ({ region }) => says(`region=${region}`),
  ],
  test_missing_capability: [
    'Cannot do without sampling',
    object(),
    async (_, call) => {
      await call.inputs({ model: sample('ping', 16) });
      return says('done');
    },
  ],
  test_streaming_elicitation: ['A result and nothing before it', object(), () => says('only a result')],
  test_logging_tool: [
    'Logs to who wants it',
    object(),
    async (_, call) => {
      await call.log('test_logging_tool ran');
      return says('logged');
    },
  ],
  test_trigger_tool_change: [
    'Tells that the tools have changed',
    object(),
    async (_, call) => {
      await call.changed('tools');
      return says('tools changed');
    },
  ],
  test_trigger_prompt_change: [
    'Tells that the prompts have changed',
    object(),
    async (_, call) => {
      await call.changed('prompts');
      return says('prompts changed');
    },
  ],
  test_input_required_result_elicitation: [
    'One form',
    object(),
    async (_, call) => {
      const { user_name } = await call.inputs({ user_name: elicit('What is your name?', name) });
      return says(`Hello, ${user_name.content?.name}!`);
    },
  ],
  test_input_required_result_sampling: [
    'One sampling',
    object(),
    async (_, call) => {
      const asked = { capital_question: sample('What is the capital of France?', 100) };
      const { capital_question } = await call.inputs(asked);
      return says(`The model says: ${capital_question.content.text}`);
    },
  ],
  test_input_required_result_list_roots: [
    'The roots',
    object(),
    async (_, call) => {
      const { client_roots } = await call.inputs({ client_roots: roots });
      return says(`roots: ${client_roots.roots.map(root => root.uri).join(', ')}`);
    },
  ],
  test_input_required_result_request_state: [
    'A form, and a state that comes back',
    object(),
    async (_, call) => {
      await call.inputs({ confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) });
      return says('state-ok');
    },
  ],
  test_input_required_result_multiple_inputs: [
    'Three kinds of input at once',
    object(),
    async (_, call) => {
      const { user_name, greeting, client_roots } = await call.inputs({
        user_name: elicit('What is your name?', name),
        greeting: sample('Generate a greeting', 50),
        client_roots: roots,
      });
      return says(
        `${greeting.content.text} ${user_name.content?.name}, ${client_roots.roots.length} roots`,
      );
    },
  ],
  test_input_required_result_multi_round: [
    'One form after the other',
    object(),
    async (_, call) => {
      const { step1 } = await call.inputs({ step1: elicit('Step 1: What is your name?', name) });
      const { step2 } = await call.inputs({ step2: elicit('Step 2: Which colour?', { color: string }) });
      return says(`${step1.content?.name} likes ${step2.content?.color}`);
    },
  ],
  test_input_required_result_tampered_state: [
    'A state that must not be changed',
    object(),
    async (_, call) => {
      await call.inputs({ confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) });
      return says('integrity-ok');
    },
  ],
  test_input_required_result_capabilities: [
    'Asks for what the client has declared and nothing else',
    object(),
    async (_, call) => {
      const asked = {};
      if (call.capabilities?.elicitation) asked.user_name = elicit('What is your name?', name);
      if (call.capabilities?.sampling) asked.greeting = sample('Generate a greeting', 50);
      if (call.capabilities?.roots) asked.client_roots = roots;
      await call.inputs(asked);
      return says('all that was declared');
    },
  ],
};

// ---- Prompts: arguments, messages ----

const user = content => ({ role: 'user', content });
const argument = name => ({ name, description: name, required: true });

const prompts = {
  test_simple_prompt: [[], () => [user(text('This is a simple prompt for testing.'))]],
  test_prompt_with_arguments: [
    [argument('arg1'), argument('arg2')],
    ({ arg1, arg2 }) => [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
  ],
  test_prompt_with_embedded_resource: [
    [argument('resourceUri')],
    ({ resourceUri }) => [
      user(embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
      user(text('Please process the embedded resource above.')),
    ],
  ],
  test_input_required_result_prompt: [
    [],
    async (_, call) => {
      const asked = { user_context: elicit('What is the context?', { context: string }) };
      const { user_context } = await call.inputs(asked);
      return [user(text(`The context is: ${user_context.content?.context}`))];
    },
  ],
  test_prompt_with_image: [[], () => [user(image), user(text('Please analyze the image above.'))]],
};

// ---- Resources: name, what reading it gives ----

const resources = {
  'test://static-text': [
    'static-text',
    { mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  ],
  'test://static-binary': ['static-binary', { mimeType: 'image/png', blob: PNG }],
  'test://watched-resource': [
    'watched-resource',
    { mimeType: 'text/plain', text: 'Watched resource content' },
  ],
};

function read(uri, call) {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id === undefined) return known(resources, uri, call.modern ? -32602 : -32002, { uri })[1];
  const data = { id, templateTest: true, data: `Data for ID: ${id}` };
  return { mimeType: 'application/json', text: JSON.stringify(data) };
}

function known(table, name, code = -32602, data = undefined) {
  if (!Object.hasOwn(table, name)) throw new RpcError(code, `not found: ${name}`, data);
  return table[name];
}

// What may be kept, and for how long: nothing (2026-07-28 wants it said).
const fresh = (call, result) => (call.modern ? { ...result, ttlMs: 0, cacheScope: 'private' } : result);

// Runs a tool or a prompt; one that needs input ends in the result that says so.
async function run(handler, params, call) {
  try {
    return await handler(params.arguments ?? {}, call);
  } catch (fault) {
    if (fault instanceof InputRequired) return fault.result;
    throw fault;
  }
}

// ---- Methods: params and call in, result out. `initialize` and `ping` are the host's. ----

export const methods = {
  'tools/list': (_, call) =>
    fresh(call, {
      tools: Object.entries(tools).map(([name, [description, inputSchema]]) => ({
        name,
        description,
        inputSchema,
      })),
    }),
  'tools/call': (params, call) => run(known(tools, params.name)[2], params, call),
  'prompts/list': (_, call) =>
    fresh(call, {
      prompts: Object.entries(prompts).map(([name, [args]]) => ({ name, description: name, arguments: args })),
    }),
  'prompts/get': async (params, call) => {
    const messages = await run(known(prompts, params.name)[1], params, call);
    return Array.isArray(messages) ? { messages } : messages;
  },
  'resources/list': (_, call) =>
    fresh(call, {
      resources: Object.entries(resources).map(([uri, [name, { mimeType }]]) => ({ uri, name, mimeType })),
    }),
  'resources/templates/list': (_, call) =>
    fresh(call, {
      resourceTemplates: [
        { uriTemplate: 'test://template/{id}/data', name: 'template', mimeType: 'application/json' },
      ],
    }),
  'resources/read': ({ uri }, call) => fresh(call, { contents: [{ uri, ...read(uri, call) }] }),
  'completion/complete': () => ({ completion: { values: [], total: 0, hasMore: false } }),
};

// What 2026-07-28 has taken out.
export const legacyMethods = {
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
  'logging/setLevel': () => ({}),
};

// The arguments of a listing by SDK: every tool as name, description and input schema.
export const described = Object.entries(tools).map(([name, [description, inputSchema]]) => ({
  name,
  description,
  inputSchema,
}));
