//! Documents made by a grammar that knows namespaces, with a fault here and there: nearly good ones, which mutations seldom are.

use crate::Dice;

/// Mostly declared somewhere above, never for long the same.
const PREFIXES: [&str; 6] = ["", "", "p:", "q:", "xml:", "xmlns:"];
const NAMES: [&str; 6] = ["a", "b", "c", "d", "xmlns", "é"];
/// Some are one namespace written in two ways, some may not be declared, some only as the default.
const NAMESPACES: [&str; 14] = [
    "u",
    "u",
    "v",
    "&#117;",
    "&#x75;",
    "",
    "u ",
    "u\n",
    "u&#10;",
    "u&amp;v",
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/2000/xmlns/",
    "jabber:client",
    "u\u{1}",
];
const VALUES: [&str; 14] = [
    "",
    "x",
    "\t \r\n",
    "&lt;&gt;&amp;&quot;&apos;",
    "&#9;&#xA;&#x0d;",
    "&#55296;",
    "&#xDFFF;",
    "&#xFFFD;",
    "&#x10FFFF;&#x00000000000000000041;",
    "&#x110000;",
    "&#xFFFE;",
    "]]>",
    ">",
    "\u{fffd}\u{10ffff}",
];
/// What stands in texts alone, or nowhere.
const TEXTS: [&str; 8] =
    ["<![CDATA[]]]]>", "<![CDATA[<&]]>", "]]", "]>", "&", "&x;", "\u{ffff}", "<"];

/// One document.
pub(crate) fn document(dice: &mut Dice) -> Vec<u8> {
    let mut out = String::new();
    element(&mut out, 0, dice);
    out.into_bytes()
}

fn element(out: &mut String, depth: usize, dice: &mut Dice) {
    let name = [pick(&PREFIXES[..5], dice), pick(&NAMES, dice)].concat();
    out.push('<');
    out.push_str(&name);
    // Nearly all prefixes are declared by the outermost.
    if depth == 0 && !dice.one_in(10) {
        out.push_str(" xmlns:p='u' xmlns:q='v'");
    }
    for _ in 0..dice.below(4) {
        attribute(out, dice);
    }
    space(out, dice);
    if dice.one_in(3) {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for _ in 0..dice.below(3) {
        match dice.below(if depth < 4 { 3 } else { 2 }) {
            0 => out.push_str(pick(&VALUES, dice)),
            1 if dice.one_in(4) => out.push_str(pick(&TEXTS, dice)),
            1 => out.push('x'),
            _ => element(out, depth + 1, dice),
        }
    }
    out.push_str("</");
    // The same name by another prefix of the same namespace is another.
    let other = dice.one_in(40);
    out.push_str(if other { pick(&["p:a", "q:a", "a", "b"], dice) } else { &name });
    space(out, dice);
    out.push('>');
}

fn attribute(out: &mut String, dice: &mut Dice) {
    if !dice.one_in(40) {
        out.push_str(pick(&[" ", "\n", " \t\r\n"], dice));
    }
    let (name, value) = if dice.one_in(3) {
        let name =
            pick(&["xmlns", "xmlns:p", "xmlns:q", "xmlns:r", "xmlns:xml", "xmlns:xmlns"], dice);
        (name.to_owned(), pick(&NAMESPACES, dice))
    } else {
        ([pick(&PREFIXES, dice), pick(&NAMES, dice)].concat(), pick(&VALUES, dice))
    };
    out.push_str(&name);
    space(out, dice);
    out.push('=');
    space(out, dice);
    let quote = pick(&["'", "\""], dice);
    out.push_str(quote);
    out.push_str(value);
    out.push_str(quote);
}

fn space(out: &mut String, dice: &mut Dice) {
    if dice.one_in(8) {
        out.push_str(pick(&[" ", "\n", "\r\n\t"], dice));
    }
}

fn pick<'a>(among: &[&'a str], dice: &mut Dice) -> &'a str {
    among[dice.below(among.len())]
}
