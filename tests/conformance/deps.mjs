// Loads packages from .deps/node at the root of the repository, where install.sh puts them, wherever the importing
// file lives.
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../.deps/node/package.json', import.meta.url));
export const require = createRequire(root);
export const load = name => import(pathToFileURL(require.resolve(name)).href);
