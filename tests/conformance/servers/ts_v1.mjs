#!/usr/bin/env node
// The fixture on stdio with the official TypeScript SDK v1.
import { load } from '../deps.mjs';
import { capabilities, info, legacyInputs, legacyMethods, methods } from './fixture.mjs';

const { Server } = await load('@modelcontextprotocol/sdk/server/index.js');
const { StdioServerTransport } = await load('@modelcontextprotocol/sdk/server/stdio.js');
const types = await load('@modelcontextprotocol/sdk/types.js');

const requests = {
  'tools/list': types.ListToolsRequestSchema,
  'tools/call': types.CallToolRequestSchema,
  'prompts/list': types.ListPromptsRequestSchema,
  'prompts/get': types.GetPromptRequestSchema,
  'resources/list': types.ListResourcesRequestSchema,
  'resources/templates/list': types.ListResourceTemplatesRequestSchema,
  'resources/read': types.ReadResourceRequestSchema,
  'resources/subscribe': types.SubscribeRequestSchema,
  'resources/unsubscribe': types.UnsubscribeRequestSchema,
  'completion/complete': types.CompleteRequestSchema,
  'logging/setLevel': types.SetLevelRequestSchema,
};
const answers = {
  'elicitation/create': types.ElicitResultSchema,
  'sampling/createMessage': types.CreateMessageResultSchema,
  'roots/list': types.ListRootsResultSchema,
};

const server = new Server(info, { capabilities });
for (const [method, schema] of Object.entries(requests))
  server.setRequestHandler(schema, ({ params = {} }, extra) => {
    const notify = (name, about) => extra.sendNotification({ method: name, params: about });
    return { ...methods, ...legacyMethods }[method](params, {
      modern: false,
      capabilities: server.getClientCapabilities(),
      progressToken: params._meta?.progressToken,
      notify,
      changed: kind => server.notification({ method: `notifications/${kind}/list_changed` }),
      log: data => notify('notifications/message', { level: 'info', data }),
      inputs: legacyInputs((name, about) => extra.sendRequest({ method: name, params: about }, answers[name])),
    });
  });
await server.connect(new StdioServerTransport());
