// Lets the conformance suite start on Node 20 (use: node --import ./node20.mjs SUITE ...).
//
// One of its files imports `globSync` from "fs", which Node has since version 22; the import alone is fatal, although
// `server` never calls it. So that package, and no other, gets an "fs" that has the name.
import * as fs from 'node:fs';
import { register } from 'node:module';

const asModule = source => 'data:text/javascript,' + encodeURIComponent(source);

if (!('globSync' in fs)) {
  const complete = asModule(`
    export * from 'node:fs';
    export { default } from 'node:fs';
    export function globSync() { throw new Error('fs.globSync needs Node 22'); }
  `);
  register(
    asModule(`
    export async function resolve(name, context, next) {
      const asker = context.parentURL ?? '';
      if ((name === 'fs' || name === 'node:fs') && asker.includes('/@modelcontextprotocol/conformance/'))
        return { url: ${JSON.stringify(complete)}, shortCircuit: true };
      return next(name, context);
    }
  `),
  );
}
