// The tus peer of the comparison on S3: @tus/server with its S3 store, nothing else switched on.
// Usage: node server-s3.mjs PORT ENDPOINT BUCKET REGION ACCESS_KEY SECRET_KEY (setup.sh copies this file beside its node_modules).
import { Server } from '@tus/server'
import { S3Store } from '@tus/s3-store'

const [port, endpoint, bucket, region, accessKeyId, secretAccessKey] = process.argv.slice(2)
const datastore = new S3Store({
  partSize: 8 * 1024 * 1024, // the chunks that the client sends
  s3ClientConfig: { bucket, region, endpoint, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } },
})
const server = new Server({ path: '/files', datastore })
server.listen({ host: '127.0.0.1', port: Number(port) })
