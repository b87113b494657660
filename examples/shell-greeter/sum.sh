#: The sum of whole numbers.
#: sum(numbers: [Int!]!): Int!
total=0
for number in $numbers; do
    total=$((total + number))
done
echo $total
