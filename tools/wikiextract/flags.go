package main

import (
	"slices"
	"strconv"
	"strings"

	"hpcbert/lib/corpus"
	"hpcbert/lib/fault"
)

func parseForm(name string) (corpus.Form, error) {
	form, err := corpus.ParseForm(name)
	if err != nil || !slices.Contains([]corpus.Form{corpus.JSON, corpus.Doc, corpus.Line}, form) {
		return form, fault.Usagef("option --format: %q, want json, doc or line", name)
	}
	return form, nil
}

func parseNamespaces(list string) ([]int, error) {
	var numbers []int
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil {
			return nil, fault.WithHint(fault.Usagef("option --namespaces: %q is not a number", field), "0 is articles, 14 categories, 100 portals")
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
