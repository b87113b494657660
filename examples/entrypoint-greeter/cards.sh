#: A folder with a card per name.
#: @names who gets one
#: cards(names: [String!]!): Directory!
mkdir -p /tmp/cards
echo "$names" | while read -r name; do
    echo "Hello, $name!" >"/tmp/cards/$name.txt"
done
echo /tmp/cards
