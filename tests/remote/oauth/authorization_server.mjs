#!/usr/bin/env node
// authorization_server.mjs RESOURCE SECONDS: oidc-provider with dynamic registration, PKCE, resource indicators (RFC 8707),
// rotating refresh tokens and its own login pages, for one resource. Access tokens are JWTs that are valid for SECONDS. It prints its issuer.
//
// POST /control/rotate signs with another key from now on, POST /control/revoke revokes all refresh tokens, and GET /control/requests
// returns the requests to its endpoints: [{path, grant_type, scope, resource}].
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../../.deps/remote/node/package.json', import.meta.url));
const { resolve } = createRequire(root);
const load = name => import(pathToFileURL(resolve(name)).href);
const { Provider } = await load('oidc-provider');
const { exportJWK, generateKeyPair } = await load('jose');

const [resource, seconds] = process.argv.slice(2);
const requests = [];

// The entries of all providers, which differ in their keys only.
const entries = new Map();
class Adapter {
  constructor(model) {
    this.model = model;
  }
  key = id => `${this.model}:${id}`;
  async upsert(id, payload) {
    entries.set(this.key(id), { ...payload });
  }
  async find(id) {
    return entries.get(this.key(id));
  }
  #findBy = (name, value) =>
    [...entries].find(([key, entry]) => key.startsWith(`${this.model}:`) && entry[name] === value)?.[1];
  findByUid = async uid => this.#findBy('uid', uid);
  findByUserCode = async code => this.#findBy('userCode', code);
  async consume(id) {
    const entry = entries.get(this.key(id));
    if (entry) entry.consumed = Math.floor(Date.now() / 1000);
  }
  async destroy(id) {
    entries.delete(this.key(id));
  }
  async revokeByGrantId(grantId) {
    for (const [key, entry] of entries) if (entry.grantId === grantId) entries.delete(key);
  }
}

let number = 0;
const former = [];
async function provider(issuer) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const key = { ...(await exportJWK(privateKey)), kid: `key-${++number}`, alg: 'ES256', use: 'sig' };
  // The former key stays, because tokens that it has signed are still valid.
  const keys = [key, ...former];
  former.splice(0, 1, key);
  const made = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    cookies: { keys: ['a key of a test'] },
    // Some clients register with the scopes of the resource.
    scopes: ['openid', 'offline_access', 'mcp:basic', 'mcp:secret'],
    pkce: { required: () => true },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, indicator) => {
          if (indicator !== resource) throw new Error(`no such resource: ${indicator}`);
          return {
            scope: 'mcp:basic mcp:secret',
            audience: resource,
            accessTokenFormat: 'jwt',
            accessTokenTTL: Number(seconds),
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
    },
  });
  made.on('grant.error', (context, fault) => process.stderr.write(`${fault.error_description ?? fault}\n`));
  made.on('server_error', (context, fault) => process.stderr.write(`${fault.stack}\n`));
  return made.callback();
}

let current;
const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const json = value => response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  if (pathname === '/control/requests') return json(requests);
  if (pathname === '/control/rotate') {
    current = await provider(issuer);
    return json({ key: number });
  }
  if (pathname === '/control/revoke') {
    for (const key of entries.keys()) if (/^(RefreshToken|Grant|Session):/.test(key)) entries.delete(key);
    return json({});
  }
  const noted = { path: pathname, scope: searchParams.get('scope'), resource: searchParams.get('resource') };
  requests.push(noted);
  if (pathname === '/token') {
    // Read here, and again by the provider.
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    request.body = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    Object.assign(noted, { grant_type: request.body.grant_type, resource: request.body.resource });
  }
  return current(request, response);
}).listen(0, '127.0.0.1');
await new Promise(done => server.once('listening', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
current = await provider(issuer);
process.stdout.write(`${issuer}\n`);
