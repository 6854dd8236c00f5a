// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is a value of the chart.
type value struct{ path, standard, about string }

// writeValues lists the values of the chart, with defaults and comments, in VALUES.md.
func writeValues() error {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	values, err := listValues("", document.Content[0])
	if err != nil {
		return err
	}
	var out strings.Builder
	out.WriteString("<!-- Written by `make chart-files` from values.yaml. Do not edit. -->\n\n# Values\n\n")
	out.WriteString("| Value | Default | |\n|---|---|---|\n")
	for _, v := range values {
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", v.path, v.standard, strings.ReplaceAll(v.about, "|", `\|`))
	}
	return os.WriteFile(filepath.Join(chart, "VALUES.md"), []byte(out.String()), 0o600)
}

// listValues returns the values below a mapping. A mapping with fields is listed for its
// comment, and then field by field.
func listValues(prefix string, mapping *yaml.Node) ([]value, error) {
	var values []value
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		v := value{path: prefix + key.Value, about: plainComment(key.HeadComment)}
		if node.Kind == yaml.MappingNode && node.Style&yaml.FlowStyle == 0 {
			if v.about != "" {
				values = append(values, v)
			}
			below, err := listValues(v.path+".", node)
			if err != nil {
				return nil, err
			}
			values = append(values, below...)
			continue
		}
		var err error
		if v.standard, err = showDefault(node); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// showDefault returns a default as code, empty for an empty text.
func showDefault(node *yaml.Node) (string, error) {
	var content any
	if err := node.Decode(&content); err != nil {
		return "", err
	}
	if content == "" {
		return "", nil
	}
	flow := *node
	flow.Style, flow.HeadComment = yaml.FlowStyle, ""
	text, err := yaml.Marshal(&flow)
	return "`" + strings.Join(strings.Fields(string(text)), " ") + "`", err
}

// plainComment returns a comment as one line. A name such as <fullname> is no HTML.
func plainComment(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		words = append(words, strings.Fields(strings.TrimPrefix(line, "#"))...)
	}
	return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(strings.Join(words, " "))
}
