#!/usr/bin/env node
// scenario_client.mjs direct URL | scenario_client.mjs PROGRAM ARGUMENT... URL: the client of one scenario of the suite.
//
// `direct` is the official TypeScript SDK with its own HTTP and OAuth client. Anything else is a command that is a stdio
// server, to which the URL is appended (`mcp-bridge connect`, `mcp-remote`): the same SDK runs it and speaks to it over stdio. A link
// of an authorization server in the stderr of the command is opened as a browser opens it.
//
// The suite runs this program with the variables MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_PROTOCOL_VERSION and
// MCP_CONFORMANCE_CONTEXT (JSON). SCENARIO_STYLE is `connect` or `mcp-remote`: which of them the command is.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from './deps.mjs';

const sdk = await load('@modelcontextprotocol/client');
const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');

const command = process.argv.slice(2, -1);
const url = process.argv.at(-1);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const modern = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28';
const direct = command[0] === 'direct';
// The suite compares the client id with this text; no document is read.
const METADATA_URL = 'https://conformance-test.local/client-metadata.json';
const REDIRECT = 'http://localhost:3000/callback';
// Limit on a client whose call is not answered (milliseconds).
const LIMIT = 45_000;
const folder = mkdtempSync(join(tmpdir(), 'scenario-'));

// ---- The SDK's own client

// The credentials of one login. The link is opened when it is there, and the code of the redirect is kept.
class Login {
  redirectUrl = REDIRECT;
  clientMetadataUrl = METADATA_URL;
  clientMetadata = {
    client_name: 'conformance',
    redirect_uris: [REDIRECT],
    application_type: 'native',
  };
  #stored = {};
  clientInformation = () => this.#stored.client;
  saveClientInformation = value => void (this.#stored.client = value);
  tokens = () => this.#stored.tokens;
  saveTokens = value => void (this.#stored.tokens = value);
  discoveryState = () => this.#stored.discovery;
  saveDiscoveryState = value => void (this.#stored.discovery = value);
  codeVerifier = () => this.#stored.verifier;
  saveCodeVerifier = value => void (this.#stored.verifier = value);
  invalidateCredentials(scope) {
    if (scope === 'all') this.#stored = {};
    else delete this.#stored[scope];
  }
  async redirectToAuthorization(link) {
    const { headers } = await fetch(link, { redirect: 'manual' });
    this.redirect = new URL(headers.get('location')).searchParams;
  }
}

// A fetch that logs in after 401 and 403, with the SDK's own functions; the SDK leaves this to its host.
function loggingIn(login) {
  const send = (input, init) => {
    const headers = new Headers(init?.headers);
    const token = login.tokens()?.access_token;
    if (token) headers.set('Authorization', `Bearer ${token}`);
    return fetch(input, { ...init, headers });
  };
  return async (input, init) => {
    const first = await send(input, init);
    if (![401, 403].includes(first.status)) return first;
    const { resourceMetadataUrl, scope: wanted } = sdk.extractWWWAuthenticateParams(first);
    const granted = login.tokens()?.scope;
    const scope = first.status === 403 ? sdk.computeScopeUnion(granted, wanted) : wanted;
    if (first.status === 401) login.invalidateCredentials('discovery');
    const options = { serverUrl: new URL(url), resourceMetadataUrl, scope };
    const forceReauthorization = sdk.isStrictScopeSuperset(scope, granted);
    if ((await sdk.auth(login, { ...options, forceReauthorization })) === 'REDIRECT') {
      const authorizationCode = login.redirect.get('code');
      const iss = login.redirect.get('iss') ?? undefined;
      await sdk.auth(login, { ...options, authorizationCode, iss });
    }
    const second = await send(input, init);
    if ([401, 403].includes(second.status)) throw new sdk.UnauthorizedError('the login did not help');
    return second;
  };
}

function directTransport() {
  const { client_id: clientId, client_secret: clientSecret } = context;
  const providers = {
    'auth/client-credentials-basic': () => new sdk.ClientCredentialsProvider({ clientId, clientSecret }),
    'auth/client-credentials-jwt': () =>
      new sdk.PrivateKeyJwtProvider({
        clientId,
        privateKey: context.private_key_pem,
        algorithm: context.signing_algorithm ?? 'ES256',
      }),
  };
  let options = {};
  if (providers[scenario]) options = { authProvider: providers[scenario]() };
  else if (scenario.startsWith('auth/')) {
    const login = new Login();
    if (clientId)
      login.saveClientInformation({
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [REDIRECT],
      });
    options = { fetch: loggingIn(login) };
  }
  return new sdk.StreamableHTTPClientTransport(new URL(url), options);
}

// ---- A command that is a stdio server

const LINK = /https?:\/\/[^\s"'<>]*response_type=code[^\s"'<>]*/g;

async function open(link) {
  for (;;) {
    const response = await fetch(link, { redirect: 'manual' }).catch(async fault => {
      // mcp-remote prints the link before it listens, and a user takes longer than this.
      if (fault.cause?.code !== 'ECONNREFUSED') throw fault;
      await new Promise(resolve => setTimeout(resolve, 100));
    });
    const next = response?.headers.get('location');
    if (response && !next) return response.status;
    if (next) link = new URL(next, link);
  }
}

// Open each link of an authorization server in the output of a program. Returns a function that gives the output.
function openLinks(...outputs) {
  const opened = new Set();
  let text = '';
  for (const output of outputs)
    output.setEncoding('utf8').on('data', chunk => {
      process.stderr.write(chunk);
      text += chunk;
      // The last line may be half a link.
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      for (const [link] of whole.matchAll(LINK))
        if (!opened.has(link)) {
          opened.add(link);
          open(link)
            .then(status => process.stderr.write(`(opened, ${status}: ${link})\n`))
            .catch(fault => process.stderr.write(`(not opened: ${fault.cause ?? fault})\n`));
        }
    });
  return () => text;
}

function write(name, text) {
  const file = join(folder, name);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

const environment = {
  ...process.env,
  // Nothing is stored in the home of a user.
  HOME: folder,
  XDG_STATE_HOME: join(folder, 'state'),
  XDG_CONFIG_HOME: join(folder, 'config'),
  XDG_RUNTIME_DIR: folder,
  MCP_REMOTE_CONFIG_DIR: folder,
  // No program opens a browser.
  BROWSER: 'false',
};

// `mcp-bridge connect URL`, and the login that its errors name.
class Bridge {
  // The client, where it is known to the authorization server.
  options = (() => {
    const { client_id, client_secret, private_key_pem, valid_jwt } = context;
    if (scenario === 'auth/basic-cimd') return ['--client-metadata-url', METADATA_URL];
    if (valid_jwt) return ['--client-id', client_id, '--assertion-file', write('assertion', valid_jwt)];
    if (!client_id) return [];
    const credential = private_key_pem
      ? ['--private-key-file', write('key.pem', private_key_pem)]
      : ['--client-secret-file', write('secret', client_secret)];
    const own = scenario.startsWith('auth/client-credentials') ? ['--client-credentials'] : [];
    return ['--client-id', client_id, ...credential, ...own];
  })();

  command = [...command, ...this.options, url];

  // Carry out what the error says that a user must do. Returns false if it says nothing.
  async repair(text) {
    if (!/mcp-bridge login/.test(text)) return false;
    const login = spawn(command[0], ['login', ...this.options, url], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = openLinks(login.stdout, login.stderr);
    const [code] = await once(login, 'close');
    if (code) throw new Error(`the login has failed: ${output()}`);
    return true;
  }
}

// mcp-remote, which logs in by itself.
class McpRemote {
  get command() {
    const options = ['--transport', 'http-only', '--allow-http', '--protocol', modern ? 'auto' : 'legacy'];
    if (scenario === 'auth/client-credentials-basic') options.push('--client-credentials');
    if (context.client_id) {
      const { client_id, client_secret } = context;
      options.push('--static-oauth-client-info', JSON.stringify({ client_id, client_secret }));
    } else if (scenario === 'auth/basic-cimd') options.push('--client-metadata-url', METADATA_URL);
    return [...command, url, ...options];
  }

  repair = () => false;
}

// ---- What a scenario wants its client to do

const capabilities = {
  'elicitation-sep1034-client-defaults': { elicitation: { form: { applyDefaults: true } } },
  'request-metadata': { roots: { listChanged: true }, sampling: {}, elicitation: {} },
  'sep-2322-client-request-state': { elicitation: {} },
  'sep-2640-client-no-prefetch': { extensions: { 'io.modelcontextprotocol/skills': {} } },
}[scenario];
let client;
function makeClient() {
  client = new sdk.Client(
    { name: 'conformance', version: '1.0.0' },
    { capabilities: capabilities ?? {}, versionNegotiation: { mode: modern ? 'auto' : 'legacy' } },
  );
  if (capabilities?.elicitation)
    client.setRequestHandler('elicitation/create', () => ({
      action: 'accept',
      content: scenario === 'sep-2322-client-request-state' ? { confirmed: true } : {},
    }));
}
const call = (name, args = {}) => client.callTool({ name, arguments: args }, { timeout: LIMIT });

async function everything() {
  const { tools } = await client.listTools();
  await call(tools[0].name);
  const { resources } = await client.listResources();
  await client.readResource({ uri: resources[0].uri });
  const { prompts } = await client.listPrompts();
  await client.getPrompt({ name: prompts[0].name, arguments: {} });
}

const WORK = {
  initialize: () => client.listTools(),
  tools_call: async () => {
    await client.listTools();
    await call('add_numbers', { a: 5, b: 3 });
  },
  'elicitation-sep1034-client-defaults': async () => {
    await client.listTools();
    await call('test_client_elicitation_defaults');
  },
  'sse-retry': async () => {
    await client.listTools();
    await call('test_reconnection');
  },
  'request-metadata': () => client.listTools(),
  'json-schema-ref-no-deref': () => client.listTools(),
  'json-schema-2020-12-preservation': async () => {
    const { tools } = await client.listTools();
    const focal = tools.find(tool => tool.name === 'json_schema_2020_12_tool');
    await call('json_schema_echo', { schema: focal.inputSchema });
  },
  'sep-2322-client-request-state': async () => {
    await client.listTools();
    for (const name of ['echo_state', 'no_state', 'unrelated', 'no_result_type'])
      await call(`test_mrtr_${name}`).catch(fault => {
        // The suite sends a result without `resultType`, and the SDK may refuse it.
        if (name !== 'no_result_type') throw fault;
      });
  },
  // This SDK has no words for the extension, and takes any result.
  'sep-2640-client-no-prefetch': () =>
    client.request(
      { method: 'skills/list', params: {} },
      { '~standard': { version: 1, vendor: 'any', validate: value => ({ value }) } },
    ),
  'http-standard-headers': everything,
  'http-custom-headers': async () => {
    await client.listTools();
    for (const { name, arguments: args } of context.toolCalls) await call(name, args);
  },
  'http-invalid-tool-headers': async () => {
    const { tools } = await client.listTools();
    for (const { name } of tools) await call(name, { region: 'us-west1' }).catch(() => {});
  },
};

async function authorized() {
  await client.listTools();
  await call('test-tool');
}

// ---- Main

const STYLES = { connect: Bridge, 'mcp-remote': McpRemote };
const way = direct ? { repair: () => false } : new STYLES[process.env.SCENARIO_STYLE]();

async function attempt() {
  let log = () => '';
  makeClient();
  try {
    let transport;
    if (direct) transport = directTransport();
    else {
      // The SDK runs a second process to find the era, whose stderr it does not pass on.
      const args = ['-c', 'exec "$@" 2>>"$0"', join(folder, 'stderr'), ...way.command];
      transport = new StdioClientTransport({ command: 'sh', args, env: environment });
      log = () => stderr();
    }
    await client.connect(transport, { timeout: LIMIT });
    await (WORK[scenario] ?? authorized)();
    return undefined;
  } catch (fault) {
    return `${fault?.stack ?? fault}\n${log()}`;
  } finally {
    await client.close().catch(() => {});
  }
}

// What all processes of the command have written to stderr.
writeFileSync(join(folder, 'stderr'), '');
const tail = spawn('tail', ['-f', '-c', '+0', join(folder, 'stderr')], { stdio: ['ignore', 'pipe', 'ignore'] });
const stderr = openLinks(tail.stdout);

const limit = setTimeout(() => {
  process.stderr.write(`no end within ${LIMIT} ms\n`);
  tail.kill();
  process.exit(1);
}, LIMIT + 2000);
let fault;
try {
  // A user logs in again where more is required, and gives up at some time.
  for (let logins = 0; (fault = await attempt()) && logins < 3; logins++) if (!(await way.repair(fault))) break;
} catch (failed) {
  fault = failed.stack;
}
tail.kill();
if (fault) process.stderr.write(`${fault}\n`);
clearTimeout(limit);
rmSync(folder, { recursive: true, force: true });
process.exit(fault ? 1 : 0);
