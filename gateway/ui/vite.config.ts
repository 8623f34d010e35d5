// How the UI is built: hashed files below dist/assets, the table of them that the server embeds (dist/files.rs), and the licences of
// what was bundled. The output depends on the sources and the lock file only, never on the machine or the hour.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** One text with the licence of every package that has code in the bundle. */
function licences(): Plugin {
  return {
    name: 'licences',
    apply: 'build',
    generateBundle(_options, bundle) {
      const packages = new Map<string, string>();
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue;
        for (const id of Object.keys(chunk.modules)) {
          const found = /^(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(id.replaceAll('\\', '/'));
          if (found?.[1] && found[2]) packages.set(found[2], found[1]);
        }
      }
      let text = 'Packages that are part of this user interface, and their licences.\n';
      for (const [name, directory] of [...packages].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const about = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
        const file = readdirSync(directory).filter((f) => /^(licen[cs]e|copying)(\..*)?$/i.test(f)).sort()[0];
        const licence = file ? readFileSync(join(directory, file), 'utf8').trim() : `(${about.license}; the package has no text of it)`;
        text += `\n${'='.repeat(80)}\n${name} ${about.version} · ${about.license}\n${'-'.repeat(80)}\n${licence}\n`;
      }
      this.emitFile({ type: 'asset', fileName: 'assets/third-party-licenses.txt', source: text.replaceAll('\r\n', '\n') });
    },
  };
}

/** dist/files.rs: what the server embeds. */
function table(): Plugin {
  let out = '';
  return {
    name: 'table',
    apply: 'build',
    configResolved(config) {
      out = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      if (!existsSync(out)) return;
      const names = readdirSync(out, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !/^(index\.html|files\.rs)$/.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name).slice(out.length + 1))
        .sort();
      const hash = (name: string) => createHash('sha256').update(readFileSync(join(out, name))).digest('hex').slice(0, 16);
      const rows = names.map((name) => `    ("${name}", "${hash(name)}", include_bytes!("${name}")),\n`);
      const text = `// Written by the build of gateway/ui. Path below the root of the UI, hash of the content, content.\n&[\n${rows.join('')}]\n`;
      writeFileSync(join(out, 'files.rs'), text);
    },
  };
}

const server = process.env.FERULA_URL ?? 'http://127.0.0.1:9090';

export default defineConfig({
  base: './',
  build: {
    target: ['chrome123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    chunkSizeWarningLimit: 600,
  },
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(['/api', '/-/', '/pushgateway', '/metrics/'].map((path) => [path, { target: server }])),
  },
  plugins: [licences(), table()],
});
