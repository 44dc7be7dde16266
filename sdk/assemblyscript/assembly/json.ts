// JSON, as much as chats and tools need.

/** Text as a string of JSON, with its quotes. */
export function quote(text: string): string {
  let out = '"';
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x22 || c == 0x5c) {
      out += "\\" + text.charAt(i);
    } else if (c < 0x20) {
      out += "\\u" + c.toString(16).padStart(4, "0");
    } else {
      out += text.charAt(i);
    }
  }
  return out + '"';
}

function blank(text: string, at: i32): i32 {
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Behind the value at `at`, of text that is JSON. */
function skip(text: string, at: i32): i32 {
  let depth = 0;
  while (at < text.length) {
    const c = text.charAt(at);
    if (c == '"') {
      for (at++; at < text.length && text.charAt(at) != '"'; at++) {
        if (text.charAt(at) == "\\") at++;
      }
    } else if (c == "{" || c == "[") {
      depth++;
    } else if (c == "}" || c == "]") {
      depth--;
    }
    at++;
    if (depth > 0) continue;
    const next = at < text.length ? text.charAt(at) : ",";
    if (c == '"' || c == "}" || c == "]" || next == "," || next == "}" || next == "]") return at;
  }
  return text.length;
}

/** The member `key` of an object, as it is written; "": it has none. */
export function jsonMember(object: string, key: string): string {
  let at = blank(object, 0);
  if (object.charAt(at) != "{") return "";
  at = blank(object, at + 1);
  while (at < object.length && object.charAt(at) == '"') {
    const name = at;
    at = skip(object, at);
    const found = object.substring(name + 1, at - 1);
    at = blank(object, blank(object, at) + 1);
    const value = at;
    at = skip(object, at);
    if (found == key) return object.substring(value, at).trimEnd();
    at = blank(object, blank(object, at) + 1);
  }
  return "";
}

/** The item `index` of a list, as it is written; "": there are fewer. */
export function jsonItem(list: string, index: i32): string {
  let at = blank(list, 0);
  if (list.charAt(at) != "[") return "";
  at = blank(list, at + 1);
  for (; at < list.length && list.charAt(at) != "]"; index--) {
    const value = at;
    at = skip(list, at);
    if (index == 0) return list.substring(value, at).trimEnd();
    at = blank(list, blank(list, at) + 1);
  }
  return "";
}

/** What a string of JSON says; of another value its text. */
export function jsonText(value: string): string {
  if (value.length < 2 || value.charAt(0) != '"') return value;
  let out = "";
  for (let i = 1; i + 1 < value.length; i++) {
    let c = value.charAt(i);
    if (c != "\\") {
      out += c;
      continue;
    }
    c = value.charAt(++i);
    if (c == "u") {
      out += String.fromCharCode(<i32>parseInt(value.substring(i + 1, i + 5), 16));
      i += 4;
    } else {
      out += c == "n" ? "\n" : c == "t" ? "\t" : c == "r" ? "\r" : c == "b" ? "\b" : c == "f" ? "\f" : c;
    }
  }
  return out;
}
