// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Selector is a question to Calico's own parser: which of the labels does the selector
// select? Neither a valid selector nor valid text is required.
type Selector struct {
	Selector []byte              `json:"selector"`
	Labels   []map[string]string `json:"labels"`
}

// Selected is the answer: the error of an invalid selector, or for each set of labels
// whether the selector selects the labels.
type Selected struct {
	Error   string `json:"error"`
	Selects []bool `json:"selects"`
}

// SelectWithCalico asks Calico's own parser, and returns one answer for each question.
func SelectWithCalico(ctx context.Context, questions []Selector) ([]Selected, error) {
	assets, err := FindAssets(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	var in, out bytes.Buffer
	for _, q := range questions {
		if err := json.NewEncoder(&in).Encode(q); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(assets, selectors))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("asking Calico's parser of selectors: %w", err)
	}
	answers := make([]Selected, 0, len(questions))
	for decoder := json.NewDecoder(&out); ; {
		var a Selected
		switch err := decoder.Decode(&a); {
		case err == io.EOF && len(answers) == len(questions):
			return answers, nil
		case err != nil:
			return nil, fmt.Errorf("answer %d of %d of Calico's parser of selectors: %w", len(answers)+1, len(questions), err)
		}
		answers = append(answers, a)
	}
}
