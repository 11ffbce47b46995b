// Writes a .gz beside every built file that is worth it, for gateways that compress nothing themselves.
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const walk = (dir) => readdirSync(dir).flatMap((name) => (statSync(join(dir, name)).isDirectory() ? walk(join(dir, name)) : [join(dir, name)]));

let plain = 0;
let sent = 0;

for (const file of walk("dist")) {
  const body = readFileSync(file);
  const packed = gzipSync(body, { level: 9 });

  plain += body.length;
  sent += Math.min(body.length, packed.length);

  if (packed.length < body.length * 0.9) writeFileSync(`${file}.gz`, packed);
}

console.log(`${plain} bytes, ${sent} compressed`);
