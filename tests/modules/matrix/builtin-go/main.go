// The user's code of the cells of the built-in Go SDK.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// How much
type Level string

const (
	LevelLow  Level = "low"
	LevelHigh Level = "high"
)

// declared
type Matrix struct{}

// What the code was told, and which schema version it sees
func (m *Matrix) Told(
	// +default="low"
	level Level,
) (string, error) {
	version, err := view()
	return fmt.Sprintf("%s %s -", strings.ToUpper(string(level)), version), err
}

// view asks the API, without the bindings.
func view() (string, error) {
	url := fmt.Sprintf("http://127.0.0.1:%s/query", os.Getenv("DAGGER_SESSION_PORT"))
	request, err := http.NewRequest("POST", url, strings.NewReader(`{"query": "{ __schemaVersion }"}`))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(os.Getenv("DAGGER_SESSION_TOKEN"), "")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var found struct {
		Data struct {
			Version string `json:"__schemaVersion"`
		}
	}
	err = json.NewDecoder(answer.Body).Decode(&found)
	return found.Data.Version, err
}
