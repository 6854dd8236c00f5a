// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"encoding/json"
	"unsafe"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxDecoded is the most memory for one object, in bytes. A mebibyte of the shortest
// rules takes thirty in memory.
const maxDecoded = 4 << 20

// The estimate of the memory that a part of an object takes: a rule of a policy, which
// is an object on the third level; a deeper object; a value.
const (
	ruleBytes   = int64(unsafe.Sizeof(v3.Rule{}))
	objectBytes = 64
	valueBytes  = 40
)

// annotationTooLarge is an annotation, in memory only, of an object that is too large to
// be decoded. An API server accepts no annotation with such a name.
const annotationTooLarge = "too large (in memory alone)"

// boundedSerializers decode of too large objects only the name.
type boundedSerializers struct{ runtime.NegotiatedSerializer }

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (s boundedSerializers) DecoderToVersion(decoder runtime.Decoder, gv runtime.GroupVersioner) runtime.Decoder {
	return boundedDecoder{s.NegotiatedSerializer.DecoderToVersion(decoder, gv)}
}

type boundedDecoder struct{ runtime.Decoder }

// Decode implements runtime.Decoder.
func (d boundedDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (
	runtime.Object, *schema.GroupVersionKind, error,
) {
	if decodedSize(data) > maxDecoded {
		reduced, err := withoutContent(data)
		if err != nil {
			return nil, nil, err
		}
		data = reduced
	}
	return d.Decoder.Decode(data, defaults, into)
}

// decodedSize estimates the memory that an object takes when decoded.
func decodedSize(text []byte) int64 {
	size, depth, quoted := int64(len(text)), 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ',':
			size += valueBytes
		case c == '}':
			depth--
		case c == '{':
			if depth++; depth == 3 {
				size += ruleBytes
			} else {
				size += objectBytes
			}
		}
	}
	return size
}

// withoutContent returns an object with the name alone.
func withoutContent(text []byte) ([]byte, error) {
	var object struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
		Metadata   struct {
			Name            string            `json:"name"`
			UID             string            `json:"uid,omitempty"`
			ResourceVersion string            `json:"resourceVersion,omitempty"`
			Annotations     map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	object.Metadata.Annotations = map[string]string{annotationTooLarge: ""}
	return json.Marshal(object)
}
