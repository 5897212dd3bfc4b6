"""The web page of the entry point `ui`: `app` and what it imports draw it with Streamlit; the rest knows nothing of Streamlit.

client      the endpoint, asked over HTTP
uploads     a person's file -> a table, or a sentence that says what is wrong
scoring     many tweets, scored in a thread of their own; the table of what was found
watch       what the endpoint counted within the last hour
highlight   the words that drove an answer, as HTML
verdicts    right or wrong, said by a person
one_tweet   the four tabs
many_tweets
live
versions
app         the page
"""
