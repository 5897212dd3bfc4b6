// Microsoft's language service for KQL: reads {tables, queries} as JSON, and writes what it finds wrong with each query, and its syntax tree.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = path.dirname(require.resolve("@kusto/language-service-next/package.json"));
const say = console.log;
console.log = () => {}; // the scripts, made for a browser, print as they load
for (const file of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, file), "utf8"), { filename: file });
}
console.log = say;

const { Symbols, Syntax, GlobalState, KustoCode } = globalThis.Kusto.Language;
const kinds = new Map(Object.entries(Syntax.SyntaxKind).map(([name, number]) => [number, name]));

function table(name, columns) {
  const declared = Object.entries(columns).map(([column, type]) => `${column}: ${type}`);
  return new Symbols.TableSymbol.$ctor7(name, `(${declared.join(", ")})`, null);
}

// [kind, text] of a token, [kind, [child, ...]] of anything else; what a query leaves out is left out.
function tree(node) {
  const kind = kinds.get(node.Kind);
  if (node.IsToken) return [kind, node.ToString().trim()];
  const found = [];
  for (let index = 0; index < node.ChildCount; index++) {
    const child = node.GetChild(index);
    if (child && child.Width > 0) found.push(tree(child));
  }
  return [kind, found];
}

const { tables, queries } = JSON.parse(fs.readFileSync(0, "utf8"));
const database = new Symbols.DatabaseSymbol.ctor("insights", Object.entries(tables).map(([name, columns]) => table(name, columns)));
const state = GlobalState.Default.WithDatabase(database);
const answer = {};
for (const [name, query] of Object.entries(queries)) {
  const code = KustoCode.ParseAndAnalyze(query, state);
  const diagnostics = code.GetDiagnostics();
  const messages = [];
  for (let index = 0; index < diagnostics.Count; index++) {
    const { Start, Message } = diagnostics.getItem(index);
    messages.push(`line ${query.slice(0, Start).split("\n").length}: ${Message}`);
  }
  answer[name] = { messages, tree: tree(code.Syntax) };
}
process.stdout.write(JSON.stringify(answer));
