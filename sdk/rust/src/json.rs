//! JSON, as much as chats and tools need. For more use a crate of your choice.

use alloc::string::String;
use core::fmt::Write;

/// Text as a string of JSON, with its quotes.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The length of the value that `text` begins with, of text that is JSON.
fn value_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => {
                at += 1;
                if depth > 0 || !matches!(bytes.get(at), None | Some(b',' | b'}' | b']')) {
                    continue;
                }
            }
        }
        if depth == 0 {
            break;
        }
    }
    at.min(bytes.len())
}

fn after(text: &str, mark: char) -> &str {
    let text = text.trim_start();
    text.strip_prefix(mark).unwrap_or(text).trim_start()
}

/// The member `key` of an object, as it is written.
pub fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = object.trim_start().strip_prefix('{')?.trim_start();
    while rest.starts_with('"') {
        let (name, behind) = rest.split_at(value_length(rest));
        let value = after(behind, ':');
        let (value, behind) = value.split_at(value_length(value));
        if &name[1..name.len() - 1] == key {
            return Some(value.trim_end());
        }
        rest = after(behind, ',');
    }
    None
}

/// The item `index` of a list, as it is written.
pub fn item(list: &str, index: usize) -> Option<&str> {
    let mut rest = list.trim_start().strip_prefix('[')?.trim_start();
    for left in (0..=index).rev() {
        if rest.is_empty() || rest.starts_with(']') {
            return None;
        }
        let (value, behind) = rest.split_at(value_length(rest));
        if left == 0 {
            return Some(value.trim_end());
        }
        rest = after(behind, ',');
    }
    None
}

/// What a string of JSON says; of another value its text.
pub fn text(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.into();
    };
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside.chars();
    let mut high = None;
    while let Some(c) = rest.next() {
        let c = if c != '\\' {
            c
        } else {
            match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).unwrap_or(0xfffd);
                    if (0xd800..0xdc00).contains(&code) {
                        high = Some(code);
                        continue;
                    }
                    let code = match high.take() {
                        Some(first) if (0xdc00..0xe000).contains(&code) => {
                            0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00)
                        }
                        _ => code,
                    };
                    char::from_u32(code).unwrap_or('\u{fffd}')
                }
                Some(other) => other,
                None => break,
            }
        };
        out.push(c);
    }
    out
}
