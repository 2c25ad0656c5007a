#!/usr/bin/env node
// A server that speaks revision 2026-07-28 only, with the tools of examples/server.py that show the features.
//
// The wire is that of the conformance fixture without an SDK (conformance/servers/raw.mjs), whose tools these replace.
import { methods } from '../conformance/servers/fixture.mjs';

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000));
const text = words => ({ type: 'text', text: words });

const form = message => ({
  method: 'elicitation/create',
  params: {
    mode: 'form',
    message,
    requestedSchema: { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] },
  },
});
const prompt = words => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: text(words) }], maxTokens: 100 },
});

// Arguments and a call in (fixture.mjs says what that can do), text out.
const tools = {
  async ask({ question }, call) {
    const { reply } = await call.inputs({ reply: form(question) });
    return `${reply.action}: ${reply.content?.answer ?? ''}`;
  },
  async think({ prompt: words }, call) {
    const { reply } = await call.inputs({ reply: prompt(words) });
    return `${reply.model}: ${reply.content.text}`;
  },
  async roots(_, call) {
    const { reply } = await call.inputs({ reply: { method: 'roots/list', params: {} } });
    return reply.roots.map(({ uri }) => uri).join('\n');
  },
  async slow({ seconds, steps }, call) {
    const { progressToken } = call;
    for (let progress = 0; progress < steps; progress++) {
      if (progressToken !== undefined)
        call.notify('notifications/progress', { progressToken, progress, total: steps });
      await sleep(seconds / steps);
    }
    return `done in ${seconds} s`;
  },
  async toggle(_, call) {
    call.changed('tools');
    return 'toggled';
  },
  async touch({ uri }, call) {
    for (const [id, uris] of subscriptions)
      if (uris.includes(uri))
        call.notify('notifications/resources/updated', { uri, _meta: { [SUBSCRIPTION]: id } });
    return 'touched';
  },
};

methods['tools/list'] = () => ({
  tools: Object.keys(tools).map(name => ({ name, description: name, inputSchema: { type: 'object' } })),
  ttlMs: 0,
  cacheScope: 'private',
});
methods['tools/call'] = async ({ name, arguments: args = {} }, call) => {
  try {
    return { content: [text(await tools[name](args, call))] };
  } catch (fault) {
    if (fault.result) return fault.result; // it needs input
    throw fault;
  }
};

// The fixture keeps its subscriptions to itself, but what it says about them passes here.
const subscriptions = new Map();
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = line => {
  const { method, params, result } = JSON.parse(line);
  if (method === 'notifications/subscriptions/acknowledged')
    subscriptions.set(params._meta[SUBSCRIPTION], params.notifications.resourceSubscriptions ?? []);
  subscriptions.delete(result?._meta?.[SUBSCRIPTION]);
  return write(line);
};

process.argv.push('--era', 'modern');
await import('../conformance/servers/raw.mjs');
