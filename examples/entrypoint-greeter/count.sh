#: How many files a folder has.
#: @folder where to look
#: count(folder: Directory!, pattern: String): Int!
find "$folder" -type f -name "${pattern:-*}" | wc -l
