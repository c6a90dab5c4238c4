// The sharp peer of `make bench-thumbnails`: three sizes of a JPEG, made in one of three ways.
// A line in: {"way", "path", "times", "out"}; a line out: {"cpu"}, seconds of CPU of this process for one time, or
// {"error"}. With "out" the sizes are written there afterwards. Usage: node sharp.mjs (setup.sh copies this file beside its node_modules).
import { readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import sharp from 'sharp'

// One thread, nothing remembered: each time is the whole work.
sharp.concurrency(1)
sharp.cache(false)

const SIZES = [800, 300, 150]
const input = { autoOrient: true }
const box = (side) => ({ width: side, height: side, fit: 'inside', kernel: 'lanczos3', withoutEnlargement: true })
const jpeg = { quality: 80, chromaSubsampling: '4:2:0', optimizeCoding: true, progressive: false }

const ways = {
  // What most people write: a pipeline for each size.
  async three(source) {
    const made = []
    for (const side of SIZES) made.push(await sharp(source, input).resize(box(side)).jpeg(jpeg).toBuffer())
    return made
  },
  // One instance, cloned, all at once.
  clones(source) {
    const picture = sharp(source, input)
    return Promise.all(SIZES.map((side) => picture.clone().resize(box(side)).jpeg(jpeg).toBuffer()))
  },
  // By hand: decode once, each size from the pixels of the one before.
  async cascade(source) {
    const made = []
    let picture = sharp(source, input)
    for (const side of SIZES) {
      const { data, info } = await picture.resize(box(side)).raw().toBuffer({ resolveWithObject: true })
      const { width, height, channels } = info
      made.push(await sharp(data, { raw: { width, height, channels } }).jpeg(jpeg).toBuffer())
      picture = sharp(data, { raw: { width, height, channels } })
    }
    return made
  },
}

async function answer({ way, path, times, out }) {
  const source = await readFile(path)
  let made = []
  const before = process.cpuUsage()
  for (let time = 0; time < times; time += 1) made = await ways[way](source)
  const { user, system } = process.cpuUsage(before)
  if (out) await Promise.all(SIZES.map((side, index) => writeFile(`${out}-${side}.jpg`, made[index])))
  return { cpu: (user + system) / 1e6 / times }
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply = await answer(JSON.parse(line)).catch((error) => ({ error: String(error) }))
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
