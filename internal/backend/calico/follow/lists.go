// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// firstPage is the number of objects in the first page of a list. Calico's own API
	// server ignores the limit and answers with all objects.
	firstPage = 50
	// maxPage and pageBytes bound each further page, so that the API server need not
	// hold a large page in memory.
	maxPage, pageBytes = 500, 4 << 20
	// maxPages ends a list of a server that never ends the list.
	maxPages = 100_000
)

// errAnswerTooLong is the error of a list with more bytes than the operator reads.
var errAnswerTooLong = errors.New("the answer is too long")

// list implements source. Only one object is in memory at a time, for answers of any
// length. The request has no version, so the list is never stale.
func (c *clients) list(ctx context.Context, k kind, o metav1.ListOptions, bytes int64, do func(runtime.Object) error) (string, error) {
	o = metav1.ListOptions{LabelSelector: o.LabelSelector, FieldSelector: o.FieldSelector, Limit: firstPage}
	read := int64(0)
	for range maxPages {
		body, err := c.calico.Get().AbsPath("/apis", k.Group, k.Version, k.Resource).VersionedParams(&o, metav1.ParameterCodec).Stream(ctx)
		if err != nil {
			return "", err
		}
		counted := &countingReader{Reader: body, most: bytes, read: read}
		count := int64(0)
		meta, err := eachItem(counted, func(text []byte) error {
			count++
			object, err := c.decode(k, text)
			if err != nil {
				return err
			}
			return do(object)
		})
		_ = body.Close()
		if err != nil {
			return "", err
		}
		if o.Continue = meta.Continue; o.Continue == "" {
			return meta.ResourceVersion, nil
		}
		mean := max(1, (counted.read-read)/max(1, count))
		read, o.Limit = counted.read, min(max(1, pageBytes/mean), maxPage)
	}
	return "", fmt.Errorf("the list has more than %d pages", maxPages)
}

// eachItem calls do with the text of every item of a list in JSON, and returns the
// metadata of the list, which may come first or last.
func eachItem(from io.Reader, do func([]byte) error) (meta metav1.ListMeta, err error) {
	decoder := json.NewDecoder(from)
	if err := expect(decoder, json.Delim('{')); err != nil {
		return meta, err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return meta, err
		}
		switch key {
		case "items":
			err = eachElement(decoder, do)
		case "metadata":
			err = decoder.Decode(&meta)
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return meta, err
		}
	}
	return meta, expect(decoder, json.Delim('}'))
}

// eachElement calls do with the text of every element of an array; null has no element.
func eachElement(decoder *json.Decoder, do func([]byte) error) error {
	first, err := decoder.Token()
	if err != nil || first == nil {
		return err
	}
	if first != json.Delim('[') {
		return fmt.Errorf("the items of the list are no array but %v", first)
	}
	var text json.RawMessage
	for decoder.More() {
		if err := decoder.Decode(&text); err != nil {
			return err
		}
		if err := do(text); err != nil {
			return err
		}
	}
	return expect(decoder, json.Delim(']'))
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err == nil && token != want {
		err = fmt.Errorf("the answer has %v in the place of %v", token, want)
	}
	return err
}

// countingReader reads until there are too many bytes; 0 is no bound.
type countingReader struct {
	io.Reader
	read, most int64
}

// Read implements io.Reader.
func (r *countingReader) Read(into []byte) (int, error) {
	n, err := r.Reader.Read(into)
	if r.read += int64(n); r.most > 0 && r.read > r.most {
		return 0, errAnswerTooLong
	}
	return n, err
}
