// Checks Azure Pipelines files with the engine of the editor extension: node validate.js SCHEMA FILE...
// Prints FILE:LINE: MESSAGE for each problem and exits 1 where there is one.
"use strict";

const fs = require("fs");
const path = require("path");
const { getLanguageService } = require("azure-pipelines-language-service");
const yamlParser = require("azure-pipelines-language-service/lib/parser/yamlParser");
const { TextDocument } = require("vscode-languageserver-textdocument");

// The schema does not know that a template may hold variables alone.
function withSteps(text) {
  const roots = [...text.matchAll(/^([a-z]\w*):/gm)].map((match) => match[1]);
  const variablesAlone = roots.every((root) => ["variables", "parameters"].includes(root));
  return variablesAlone ? `${text}\nsteps: []\n` : text;
}

async function main([schemaFile, ...files]) {
  const schema = JSON.parse(fs.readFileSync(schemaFile, "utf8"));
  const service = getLanguageService(
    async () => schema,
    [],
    async () => "schema://azure-pipelines",
    { resolveRelativePath: (relative) => relative },
  );
  service.configure({ validate: true });
  const problems = [];
  // The engine prints what it does.
  console.log = () => {};
  for (const file of files) {
    const text = withSteps(fs.readFileSync(file, "utf8"));
    const uri = "file://" + path.resolve(file);
    const document = TextDocument.create(uri, "azure-pipelines", 1, text);
    for (const found of await service.doValidation(document, yamlParser.parse(text))) {
      problems.push(`${file}:${found.range.start.line + 1}: ${found.message}`);
    }
  }
  process.stdout.write(problems.map((problem) => problem + "\n").join(""));
  process.exitCode = problems.length ? 1 : 0;
}

main(process.argv.slice(2));
