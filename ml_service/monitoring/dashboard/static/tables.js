// Tables and other text. Everything that was sent is set as text, never as HTML.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Puts content in place where it differs from what is there, so that a selection or the place scrolled to stays.
export function place(id, content, make) {
  const where = document.getElementById(id);
  const text = JSON.stringify(content);
  if (where.dataset.shown === text) return;
  where.dataset.shown = text;
  where.replaceChildren(...make());
}

// A column has a title and a function from a row to a text, or to an element; `kind` is a class of its cells, or a
// function from a row to one.
export function table(id, columns, rows, { caption = "", empty = "" } = {}) {
  place(id, [caption, rows, columns.map((column) => column.title)], () => {
    if (!rows.length) return [element("p", { className: "empty", textContent: empty })];
    const kind = (column, row) => (typeof column.kind === "function" ? column.kind(row) : (column.kind ?? ""));
    const head = columns.map((column) =>
      element("th", { scope: "col", className: kind(column, {}), textContent: column.title }),
    );
    const body = rows.map((row) =>
      element("tr", {}, ...columns.map((column) => element("td", { className: kind(column, row) }, column.cell(row) ?? ""))),
    );
    return [
      element(
        "table",
        {},
        ...(caption ? [element("caption", { textContent: caption })] : []),
        element("thead", {}, element("tr", {}, ...head)),
        element("tbody", {}, ...body),
      ),
    ];
  });
}
