#!/usr/bin/env node
// The fixture on stdio with the official TypeScript SDK v2, which keeps to one era in each process.
// With --legacy reject it speaks 2026-07-28 only.
import { load } from '../deps.mjs';
import { capabilities, described, info, legacyInputs, legacyMethods, META, methods, modernInputs } from './fixture.mjs';

const { McpServer, ProtocolError, fromJsonSchema } = await load('@modelcontextprotocol/server');
const { serveStdio } = await load('@modelcontextprotocol/server/stdio');

function makeServer({ era } = {}) {
  const mcp = new McpServer(info, { capabilities });
  const { server } = mcp;

  function callOf(params, { mcpReq: request }) {
    const modern = era === 'modern' || Boolean(request.envelope);
    const declared = modern ? request.envelope?.[`${META}clientCapabilities`] : server.getClientCapabilities();
    const notify = (method, about) => request.notify({ method, params: about });
    const ask = (method, about) => request.send({ method, params: about });
    return {
      modern,
      capabilities: declared,
      progressToken: request._meta?.progressToken,
      notify,
      changed: kind => server.notification({ method: `notifications/${kind}/list_changed` }),
      log: async data => {
        if (!modern || request.envelope?.[`${META}logLevel`])
          await notify('notifications/message', { level: 'info', data });
      },
      inputs: modern
        ? modernInputs({ inputResponses: request.inputResponses, requestState: stateOf(request) }, null)
        : legacyInputs(ask),
    };
  }

  const handle = run => async (params, context) => {
    try {
      return await run(params ?? {}, callOf(params ?? {}, context));
    } catch (fault) {
      if (typeof fault.code !== 'number' || fault instanceof ProtocolError) throw fault;
      throw new ProtocolError(fault.code, fault.message, fault.data);
    }
  };

  for (const { name, description, inputSchema } of described)
    mcp.registerTool(
      name,
      { description, inputSchema: fromJsonSchema(inputSchema) },
      handle((args, call) => methods['tools/call']({ name, arguments: args }, call)),
    );
  for (const [method, run] of Object.entries({ ...methods, ...legacyMethods }))
    if (!method.startsWith('tools/'))
      server.setRequestHandler(method, ({ params }, context) => handle(run)(params, context));
  return mcp;
}

function stateOf(request) {
  const state = request.requestState;
  return typeof state === 'function' ? state() : state;
}

serveStdio(makeServer, { legacy: process.argv.includes('reject') ? 'reject' : 'serve' });
