#!/usr/bin/env node
// The fixture on stdio without any SDK: JSON lines in, JSON lines out, so that nothing of the wire is hidden.
//
// --era legacy, modern or dual (the default). A dual one looks at each request: with the envelope of 2026-07-28 it is
// modern, otherwise it follows the handshake.
import { createInterface } from 'node:readline';
import {
  capabilities,
  info,
  legacyInputs,
  legacyMethods,
  META,
  methods,
  MODERN,
  modernInputs,
  RpcError,
} from './fixture.mjs';

const REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
const at = process.argv.indexOf('--era');
const era = at < 0 ? 'dual' : process.argv[at + 1];
const questions = new Map(); // our requests' ids -> how to go on with the answer
const running = new Set(); // ids of the client's requests
const cancelled = new Set(); // those of them that it does not want answered
const listens = new Map(); // ids of open subscriptions -> what they want
let asked = 0;
let declared; // the capabilities of the handshake

const send = message => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');
const notify = (method, params) => send({ method, params });
const subscription = id => ({ _meta: { [`${META}subscriptionId`]: id } });

function ask(method, params) {
  const id = `question-${++asked}`;
  send({ id, method, params });
  return new Promise((resolve, reject) => questions.set(id, { resolve, reject }));
}

function changed(kind) {
  const method = `notifications/${kind}/list_changed`;
  if (declared) notify(method);
  for (const [id, wanted] of listens) if (wanted[`${kind}ListChanged`]) notify(method, subscription(id));
}

// ---- The handshake era ----

function initialize({ protocolVersion, capabilities: theirs }) {
  declared = theirs ?? {};
  const revision = REVISIONS.includes(protocolVersion) ? protocolVersion : REVISIONS[0];
  return { protocolVersion: revision, capabilities, serverInfo: info };
}

function legacyResult({ method, params = {} }) {
  if (method === 'initialize') return initialize(params);
  if (method === 'ping') return {};
  const handler = { ...methods, ...legacyMethods }[method];
  if (!handler) throw new RpcError(-32601, `no such method: ${method}`);
  return handler(params, {
    modern: false,
    capabilities: declared,
    progressToken: params._meta?.progressToken,
    notify,
    changed,
    log: data => notify('notifications/message', { level: 'info', data }),
    inputs: legacyInputs(ask),
  });
}

// ---- 2026-07-28 ----

function envelope({ _meta: meta = {} }) {
  const version = meta[`${META}protocolVersion`];
  const theirs = meta[`${META}clientCapabilities`];
  if (typeof version !== 'string') throw new RpcError(-32602, '_meta has no protocolVersion');
  if (version !== MODERN)
    throw new RpcError(-32022, `unsupported: ${version}`, { supported: [MODERN], requested: version });
  if (typeof theirs !== 'object') throw new RpcError(-32602, '_meta has no clientCapabilities');
  return { theirs, level: meta[`${META}logLevel`] };
}

function listen(id, { notifications: wanted = {} }) {
  const kinds = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged', 'resourceSubscriptions'];
  const granted = Object.fromEntries(kinds.filter(kind => wanted[kind]).map(kind => [kind, wanted[kind]]));
  listens.set(id, granted);
  notify('notifications/subscriptions/acknowledged', { notifications: granted, ...subscription(id) });
}

async function modernResult({ id, method, params = {} }) {
  const { theirs, level } = envelope(params);
  if (method === 'subscriptions/listen') return listen(id, params); // it is answered when it ends
  let result;
  if (method === 'server/discover') {
    result = { supportedVersions: [MODERN], capabilities, ttlMs: 0, cacheScope: 'private' };
  } else {
    if (!Object.hasOwn(methods, method)) throw new RpcError(-32601, `no such method: ${method}`);
    result = await methods[method](params, {
      modern: true,
      capabilities: theirs,
      progressToken: params._meta.progressToken,
      notify,
      changed,
      log: data =>
        level && LEVELS.indexOf(level) <= 1 && notify('notifications/message', { level: 'info', data }),
      inputs: modernInputs(params, theirs),
    });
  }
  return { resultType: 'complete', ...result, _meta: { ...result._meta, [`${META}serverInfo`]: info } };
}

// ---- Both ----

function isModern({ method, params }) {
  if (era !== 'dual') return era === 'modern';
  if (method === 'server/discover' || method === 'subscriptions/listen') return true;
  return Object.keys(params?._meta ?? {}).some(name => name.startsWith(META));
}

async function answer(request) {
  let reply;
  running.add(request.id);
  try {
    const result = await (isModern(request) ? modernResult(request) : legacyResult(request));
    if (result === undefined) return;
    reply = { result };
  } catch (fault) {
    reply = { error: { code: fault.code ?? -32603, message: fault.message, data: fault.data } };
  }
  running.delete(request.id);
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
    const id = message.params?.requestId;
    if (listens.delete(id)) send({ id, result: { resultType: 'complete', ...subscription(id) } });
    else if (running.has(id)) cancelled.add(id);
  }
}

createInterface({ input: process.stdin })
  .on('line', line => line.trim() && receive(JSON.parse(line)))
  .on('close', () => process.exit(0));
