#!/usr/bin/env node
// jwt_client.mjs VERSION URL TOKEN [interactive]: initialize and call a tool with an access token, with an official client.
//
//   VERSION      v1 (@modelcontextprotocol/sdk) | v2 (@modelcontextprotocol/client)
//   interactive  the SDK handles a refusal as for a user: it finds the authorization server, and sends the user there
//
// Prints one JSON object: the text of the tool, or the name, code and text of the error; and the URL that the user is sent to.
import { load } from '../conformance/deps.mjs';

const [version, url, token, how] = process.argv.slice(2);
const v1 = async () => ({
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/streamableHttp.js')),
});
const v2 = () => load('@modelcontextprotocol/client');
const { Client, StreamableHTTPClientTransport } = await { v1, v2 }[version]();

let sent = null;
const authProvider = {
  redirectUrl: 'http://127.0.0.1:1/callback',
  clientMetadata: { redirect_uris: ['http://127.0.0.1:1/callback'], client_name: 'official client' },
  clientInformation: () => ({ client_id: 'official' }),
  tokens: () => ({ access_token: token, token_type: 'Bearer' }),
  saveTokens: () => {},
  saveCodeVerifier: () => {},
  codeVerifier: () => 'x'.repeat(43),
  redirectToAuthorization: place => {
    sent = place.href;
  },
};
const options =
  how === 'interactive' ? { authProvider } : { requestInit: { headers: { Authorization: `Bearer ${token}` } } };
const client = new Client({ name: 'official', version: '1' });
const found = {};
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(url), options));
  const result = await client.callTool({ name: 'echo', arguments: { text: 'with a JWT' } });
  found.text = result.content[0].text;
} catch (fault) {
  const status = fault.status ?? fault.data?.status ?? null;
  found.error = { name: fault.constructor.name, code: fault.code ?? null, status, text: String(fault.message) };
}
console.log(JSON.stringify({ ...found, sent }));
await client.close().catch(() => {});
process.exit(0);
