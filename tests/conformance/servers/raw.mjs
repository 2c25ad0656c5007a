#!/usr/bin/env node
// The fixture on stdio without any SDK: JSON lines in, JSON lines out, so that nothing of the wire is hidden.
import { createInterface } from 'node:readline';
import { capabilities, info, methods, RpcError } from './fixture.mjs';

const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];
const questions = new Map(); // our requests' ids -> how to go on with the answer
const cancelled = new Set(); // ids of the client's requests
let asked = 0;

const send = message => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');

function ask(method, params) {
  const id = `question-${++asked}`;
  send({ id, method, params });
  return new Promise((resolve, reject) => questions.set(id, { resolve, reject }));
}

function initialize({ protocolVersion }) {
  const revision = REVISIONS.includes(protocolVersion) ? protocolVersion : REVISIONS[0];
  return { protocolVersion: revision, capabilities, serverInfo: info };
}

async function result({ method, params = {} }) {
  if (method === 'initialize') return initialize(params);
  if (method === 'ping') return {};
  if (!Object.hasOwn(methods, method)) throw new RpcError(-32601, `no such method: ${method}`);
  const notify = (name, about) => send({ method: name, params: about });
  return methods[method](params, { progressToken: params._meta?.progressToken, notify, ask });
}

async function answer(request) {
  let reply;
  try {
    reply = { result: await result(request) };
  } catch (fault) {
    reply = { error: { code: fault.code ?? -32603, message: fault.message } };
  }
  if (!cancelled.delete(request.id)) send({ id: request.id, ...reply });
}

function receive(message) {
  if (message.method === undefined) {
    const question = questions.get(message.id);
    questions.delete(message.id);
    if (message.error) question?.reject(new Error(message.error.message));
    else question?.resolve(message.result);
  } else if (message.id !== undefined) {
    answer(message);
  } else if (message.method === 'notifications/cancelled') {
    cancelled.add(message.params.requestId);
  }
}

createInterface({ input: process.stdin })
  .on('line', line => receive(JSON.parse(line)))
  .on('close', () => process.exit(0));
