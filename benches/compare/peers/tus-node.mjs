// The tus peer of the comparison: @tus/server with its file store, nothing else switched on.
// Usage: node server.mjs PORT FOLDER (setup.sh copies this file beside its node_modules).
import { Server } from '@tus/server'
import { FileStore } from '@tus/file-store'

const [port, directory] = process.argv.slice(2)
const server = new Server({ path: '/files', datastore: new FileStore({ directory }) })
server.listen({ host: '127.0.0.1', port: Number(port) })
