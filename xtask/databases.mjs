// Whether the SQLite files of a state folder can be read. Of a file that can't be, the runtime says no
// more than "internal error".

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

// SQLITE_CORRUPT and SQLITE_NOTADB. Whatever else is wrong, such as a lock, may pass.
const DAMAGE = new Set([11, 26]);

function databasesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".sqlite"));
  return files.map((entry) => join(entry.parentPath, entry.name));
}

function isDamaged(path, isRead) {
  let database;
  try {
    database = new DatabaseSync(path, { readOnly: true });
    database.prepare("select count(*) from sqlite_schema").get();
    if (!isRead(path)) return false;
    const { quick_check: found } = database.prepare("pragma quick_check(1)").get();
    return found !== "ok";
  } catch (error) {
    return DAMAGE.has(error.errcode & 0xff);
  } finally {
    database?.close();
  }
}

// The files that are damaged. Those for which `isRead` is true are read as a whole; of the others, of
// which there may be thousands, the beginning has to do.
export function damagedIn(folder, isRead) {
  return databasesIn(folder).filter((path) => isDamaged(path, isRead));
}
