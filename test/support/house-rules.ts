import { posix } from 'node:path';
import ts from 'typescript';

/** A file of src/, by its path inside src/ with `/`. */
export interface SourceText {
  path: string;
  text: string;
}

/** Room (a folder of src/, or a file that lies in src/ itself) → floor. */
const FLOORS: ReadonlyMap<string, number> = new Map([
  ['cli', 5],
  ...floor(4, 'daemon.ts', 'demo.ts'),
  ...floor(3, 'link', 'coordinator', 'service'),
  ...floor(2, 'machine', 'models', 'engine', 'http', 'runner'),
  ...floor(1, 'protocol', 'crypto', 'inference', 'runner-protocol'),
  ...floor(0, 'config.ts', 'errors.ts', 'log.ts', 'database.ts', 'util'),
]);

/** Packages that only some files may import. */
const KEPT_PACKAGES: Readonly<Record<string, (path: string) => boolean>> = {
  'node-llama-cpp': (path) =>
    /^runner\/llama-(runtime|model|vocabulary|embedder)\.ts$/u.test(path) || roomOf(path) === 'models',
  libsql: (path) => path === 'database.ts',
};

function floor(number: number, ...rooms: string[]): [string, number][] {
  return rooms.map((room) => [room, number]);
}

function roomOf(path: string): string {
  return path.split('/')[0] ?? path;
}

/** What these files do against docs/architecture.md, one sentence each, beginning with the path. */
export function brokenRules(files: readonly SourceText[]): string[] {
  return files.flatMap(({ path, text }) => {
    const { imports, defaultExport, readsEnvironment } = read(path, text);
    const broken = imports.map((specifier) => brokenImport(path, specifier));
    if (!FLOORS.has(roomOf(path))) broken.push('belongs to no room');
    if (posix.basename(path) === 'index.ts') broken.push('is a barrel');
    if (defaultExport) broken.push('has a default export');
    if (readsEnvironment && path !== 'config.ts') broken.push('reads process.env');
    return broken.filter((rule) => rule !== undefined).map((rule) => `${path} ${rule}`);
  });
}

function brokenImport(path: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined) return 'imports what only the running program knows';
  if (!specifier.startsWith('.')) {
    const name = Object.keys(KEPT_PACKAGES).find((kept) => specifier === kept || specifier.startsWith(`${kept}/`));
    return name === undefined || KEPT_PACKAGES[name]?.(path) === true ? undefined : `imports ${name}`;
  }
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith('..')) return `imports ${specifier}, which is outside src`;
  const [from, to] = [roomOf(path), roomOf(target.replace(/\.js$/u, '.ts'))];
  if (from === to) return undefined;
  const [here, there] = [FLOORS.get(from), FLOORS.get(to)];
  if (there === undefined) return `imports ${to}, which is no room`;
  if (to === 'runner') return 'imports the runner, which is a process of its own';
  if (here === undefined || here > there || (here === 0 && there === 0)) return undefined;
  return here === there ? `imports its neighbour ${to}` : `imports upwards from ${to}`;
}

interface Reading {
  /** What is imported, also by `import()` and `export from`; `undefined` for what is not a constant. */
  imports: (string | undefined)[];
  defaultExport: boolean;
  readsEnvironment: boolean;
}

function read(path: string, text: string): Reading {
  const reading: Reading = { imports: [], defaultExport: false, readsEnvironment: false };
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const specifier = (node: ts.Node | undefined) => (node && ts.isStringLiteralLike(node) ? node.text : undefined);
  visit(source);
  return reading;

  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node)) reading.imports.push(specifier(node.moduleSpecifier));
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) reading.imports.push(specifier(node.moduleSpecifier));
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      reading.imports.push(specifier(node.argument.literal));
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      reading.imports.push(specifier(node.arguments[0]));
    }
    reading.defaultExport ||= isDefaultExport(node);
    reading.readsEnvironment ||= readsEnvironment(node);
    ts.forEachChild(node, visit);
  }
}

function isDefaultExport(node: ts.Node): boolean {
  if (ts.isExportAssignment(node)) return true;
  if (ts.isExportSpecifier(node)) return node.name.text === 'default';
  return (
    ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
  );
}

function readsEnvironment(node: ts.Node): boolean {
  if (ts.isImportDeclaration(node)) {
    const named = node.importClause?.namedBindings;
    const fromProcess =
      ts.isStringLiteral(node.moduleSpecifier) && /^(node:)?process$/u.test(node.moduleSpecifier.text);
    return fromProcess && named !== undefined && ts.isNamedImports(named) && named.elements.some(isEnvironment);
  }
  const member = ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node);
  return member && /^process\s*(\?\.|\.)\s*env$|^process\s*\[\s*['"]env['"]\s*\]$/u.test(node.getText());
}

function isEnvironment(element: ts.ImportSpecifier): boolean {
  return (element.propertyName ?? element.name).text === 'env';
}
