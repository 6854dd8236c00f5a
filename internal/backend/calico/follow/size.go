// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// entryBytes is the memory that each object takes besides its content: the entry in the
// store, and the copy in the sorted list.
const entryBytes = 256

// mapEntryBytes is the memory of an entry of a map besides key and value.
const mapEntryBytes = 16

// timeType has a pointer to a time zone, which all times share.
var (
	timeType   = reflect.TypeFor[time.Time]()
	fieldsType = reflect.TypeFor[metav1.FieldsV1]()
)

// sizeOf returns the memory of a kept object, in bytes. An object too large to be decoded
// counts as larger than every limit.
func sizeOf(object client.Object) int64 {
	if isTooLarge(object) {
		return 1 << 40
	}
	value := reflect.ValueOf(object).Elem()
	return entryBytes + 2*int64(value.Type().Size()) + contentSize(value)
}

func isTooLarge(object client.Object) bool {
	_, is := object.GetAnnotations()[annotationTooLarge]
	return is
}

// contentSize returns the memory behind a value, without the value itself.
func contentSize(v reflect.Value) (size int64) {
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int64(v.Elem().Type().Size()) + contentSize(v.Elem())
	case reflect.Slice:
		size = int64(v.Cap()) * int64(v.Type().Elem().Size())
		for i := range v.Len() {
			if hasContent(v.Type().Elem()) {
				size += contentSize(v.Index(i))
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			key, value := entries.Key(), entries.Value()
			size += mapEntryBytes + int64(key.Type().Size()) + int64(value.Type().Size()) + contentSize(key) + contentSize(value)
		}
	case reflect.Struct:
		return structSize(v)
	}
	return size
}

func structSize(v reflect.Value) (size int64) {
	switch v.Type() {
	case timeType:
		return 0
	case fieldsType:
		if v.CanAddr() && v.CanInterface() {
			return int64(v.Addr().Interface().(*metav1.FieldsV1).Size())
		}
	}
	for i := range v.NumField() {
		size += contentSize(v.Field(i))
	}
	return size
}

// hasContent says whether values of a type may have memory behind them.
func hasContent(t reflect.Type) bool {
	return t.Kind() > reflect.Complex128
}
