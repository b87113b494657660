// Counts the words of its arguments.
package main

import (
	"os"
	"strconv"
	"strings"

	"example.com/words/words"
)

func main() {
	text := strings.Join(os.Args[1:], " ")
	os.Stdout.WriteString(strconv.Itoa(words.Count(text)) + "\n")
}
