// What the conformance suite expects of a server at the handshake revisions, independent of SDK and transport.
//
// ts_v1.mjs and raw.mjs put it on stdio. A tool gets its arguments and a `call`:
//   call.progressToken            what the client chose, if anything
//   call.notify(method, params)   send a notification that belongs to this request
//   call.ask(method, params)      ask the client something and wait for its answer

export const info = { name: 'conformance-fixture', version: '1.0.0' };
export const capabilities = {
  tools: {},
  resources: { subscribe: true },
  prompts: {},
  logging: {},
  completions: {},
};

export class RpcError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
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
    return says(describe(await call.ask(method, params)));
  } catch (fault) {
    return says(`${method} failed: ${fault.message}`);
  }
}

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
        await call.notify('notifications/message', { level: 'info', data });
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

function read(uri) {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  if (id === undefined) return known(resources, uri, -32002)[1];
  const data = { id, templateTest: true, data: `Data for ID: ${id}` };
  return { mimeType: 'application/json', text: JSON.stringify(data) };
}

function known(table, name, code = -32602) {
  if (!Object.hasOwn(table, name)) throw new RpcError(code, `not found: ${name}`);
  return table[name];
}

// ---- Methods: params and call in, result out. `initialize` and `ping` are the host's. ----

export const methods = {
  'tools/list': () => ({
    tools: Object.entries(tools).map(([name, [description, inputSchema]]) => ({
      name,
      description,
      inputSchema,
    })),
  }),
  'tools/call': (params, call) => known(tools, params.name)[2](params.arguments ?? {}, call),
  'prompts/list': () => ({
    prompts: Object.entries(prompts).map(([name, [args]]) => ({ name, description: name, arguments: args })),
  }),
  'prompts/get': params => ({ messages: known(prompts, params.name)[1](params.arguments ?? {}) }),
  'resources/list': () => ({
    resources: Object.entries(resources).map(([uri, [name, { mimeType }]]) => ({ uri, name, mimeType })),
  }),
  'resources/templates/list': () => ({
    resourceTemplates: [
      { uriTemplate: 'test://template/{id}/data', name: 'template', mimeType: 'application/json' },
    ],
  }),
  'resources/read': ({ uri }) => ({ contents: [{ uri, ...read(uri) }] }),
  'resources/subscribe': () => ({}),
  'resources/unsubscribe': () => ({}),
  'completion/complete': () => ({ completion: { values: [], total: 0, hasMore: false } }),
  'logging/setLevel': () => ({}),
};
