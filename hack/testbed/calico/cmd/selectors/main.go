// Command selectors has Calico's own parser judge selectors: one question after
// the other, as JSON, from standard input, and the answers to standard output.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/projectcalico/calico/libcalico-go/lib/selector"
)

// question is in test/testbed/calico too. A selector need not be UTF-8.
type question struct {
	Selector []byte              `json:"selector"`
	Labels   []map[string]string `json:"labels"`
}

type answer struct {
	Error   string `json:"error,omitempty"`
	Selects []bool `json:"selects,omitempty"`
}

func main() {
	if err := run(json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "selectors:", err)
		os.Exit(1)
	}
}

func run(questions *json.Decoder, answers *json.Encoder) error {
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(judge(q)); err != nil {
			return err
		}
	}
}

func judge(q question) answer {
	s, err := selector.Parse(string(q.Selector))
	if err != nil {
		return answer{Error: err.Error()}
	}
	var a answer
	for _, labels := range q.Labels {
		a.Selects = append(a.Selects, s.Evaluate(labels))
	}
	return a
}
