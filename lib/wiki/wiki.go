// Package wiki reads MediaWiki XML dumps and turns the wikitext of their articles into plain paragraphs.
//
// The text follows WikiExtractor with its defaults, the extractor of the original pipeline: templates, tables, references,
// galleries, headings, list items and indented lines go with their content, as do div, small, sub and sup elements; links become
// their text, links into other namespaces and other wikis vanish; bold marks vanish, italics become double quotes; <math> and <code>
// become formula_N and codice_N. Where that program damages text this package does not follow it: a link to a title with a colon
// keeps its text ("Star Trek: Voyager"), <br> leaves a space between the words beside it, unbalanced markup takes away as little as possible.
//
// A text is cleaned by a chain of passes, each linear in its length: stripRaw (comments, extension tags), dropTemplates, dropTables,
// replaceLinks, replaceQuotes, dropElements, and joinLines, which also decodes entities.
package wiki
