// Reads of bentocache's first tier (memory), and of its getOrSet, as one JSON line: how many in a second, and the median
// of one in nanoseconds. Started by `make bench-cache`.
import { performance } from 'node:perf_hooks'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'

const keys = Number(process.argv[2])
const reads = Number(process.argv[3])
const bento = new BentoCache({
  default: 'memory',
  stores: {
    // As ours holds it: values, not their JSON.
    memory: bentostore().useL1Layer(memoryDriver({ maxItems: 2 * keys, serialize: false })),
  },
})
const value = (n) => ({ id: n, filename: `report-${n}.pdf`, size: 123456, content_type: 'application/pdf', metadata: { project: 'apollo' } })
const names = Array.from({ length: keys }, (_, n) => `cifra:acme:Contact:${n}:v1`)
for (let n = 0; n < keys; n++) await bento.set({ key: names[n], value: value(n), ttl: '10m' })
let order = 1
const next = () => names[(order = (order * 1103515245 + 12345) & 0x7fffffff) % keys]
for (let n = 0; n < reads / 4; n++) await bento.get({ key: next() })

const begun = performance.now()
for (let n = 0; n < reads; n++) if ((await bento.get({ key: next() })) === undefined) throw new Error('a miss')
const seconds = (performance.now() - begun) / 1e3
const each = []
for (let n = 0; n < Math.min(reads, 100000); n++) {
  const from = process.hrtime.bigint()
  await bento.get({ key: next() })
  each.push(Number(process.hrtime.bigint() - from))
}
each.sort((a, b) => a - b)
console.log(JSON.stringify({ per_second: reads / seconds, p50_ns: each[each.length >> 1] }))
await bento.disconnectAll()
