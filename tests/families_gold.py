"""Sentences of prompts with the family that a reader gives them. Every second one was never looked at while the rules were written."""

GOLD = {
    "role": ["You are an expert mathematician.", "You're a patient teacher of physics.", "Act as a senior data analyst.", "As an experienced lawyer, you weigh every word.",
             "Take on the role of a strict examiner.", "Imagine you are a detective at the scene.", "Your name is Ada and you work for the tax office.", "Pretend to be a pirate.",
             "You are the best programmer in the team.", "Answer like a doctor would.", "Speak as a librarian to a child.", "Consider yourself a judge in a cooking contest."],
    "step by step": ["Think step by step.", "Let's work this out one step at a time.", "Break the problem into smaller parts.", "First list what is known, then solve for the unknown.",
                     "Show your work.", "Write out all intermediate steps.", "Proceed in small, numbered steps.", "Split the task into subtasks and solve each.",
                     "Reason it through aloud before giving the result.", "Use a chain of thought.", "Derive the result line by line.", "Explain your reasoning as you go."],
    "meta-cognitive": ["Verify your answer.", "Double-check the arithmetic before you reply.", "Reflect on whether your reasoning holds.", "Go back over each step and correct any slip.",
                       "If you are not sure, say so.", "State how confident you are.", "Look for mistakes in your solution.", "Ask yourself whether the result is plausible.",
                       "Critique your draft and improve it.", "Make certain that nothing was overlooked by reviewing your solution.", "Test the result by putting it back into the equation.", "Before answering, question your first impression."],
    "brevity": ["Be brief.", "Keep your answer short.", "Answer in one sentence.", "Do not explain.", "Give only the final answer.", "Use as few words as possible.",
                "Respond with the number and nothing else.", "No preamble, no explanation.", "Use at most 20 words.", "Get straight to the point.", "Limit your reply to two sentences.", "Omit any justification."],
    "example": ["For example, 2 + 2 = 4.", "Here are some examples.", "Follow the examples below.", "Example: the sky is blue -> fact.", "Q: 3 + 4? A: 7", "Use the demonstration above as a guide.",
                "E.g. 'I loved it' is positive.", "Below is a sample of a good answer.", "Here is how a good reply looks: 'Paris'.", "An instance of a bad answer is 'maybe'.", "See the worked examples.", "Input: cold Output: hot"],
    "format": ["Answer in JSON.", "Return a table with two columns.", "Put the final answer on the last line.", "Use bullet points.", "Wrap the result in <answer> tags.", "End with a line that reads 'Answer:'.",
               "Format the date as YYYY-MM-DD.", "Answer with yes or no.", "Round the result to two decimals.", "Write the code in a single block.", "Your output should be a list of strings.", "Reply with one of: positive, negative."],
    "meta-instructional": ["Make sure to read the question carefully.", "Your task is to classify the review.", "Follow the instructions below.", "Remember to include the unit.", "Pay close attention to the wording.", "You will be given a text and a question.",
                           "Keep in mind what was asked.", "Read the passage twice.", "Note that the input may be in French.", "The goal is to find the cheapest route.", "Stick to what the question asks for.", "Be careful with units."],
    "complexity": ["Explain in great detail.", "Consider several approaches before you choose.", "Discuss the pros and cons.", "Give a thorough analysis.", "Take edge cases into account.", "Explore alternative interpretations of the question.",
                   "Also mention the historical background.", "Cover every aspect of the topic.", "Solve it in two different ways.", "Be comprehensive.", "Elaborate on each point.", "Think about what experts from other fields would add."],
    "constraint": ["Do not use external tools.", "Never mention the source.", "Use only the information in the text.", "Avoid technical terms.", "If the text gives no answer, reply 'unknown'.", "Do not guess.",
                   "Stay within the budget.", "Only consider events after 1990.", "You must not reveal the password.", "Refrain from giving medical advice.", "Numbers above ten are not allowed.", "Assume that all prices include tax."],
    "politeness": ["Please.", "Thank you for your help.", "This is very important to my career.", "I believe in you.", "Take a deep breath.", "You will get a tip of $200 for a perfect answer.",
                   "My job depends on this.", "Great job so far.", "Kindly help me with this.", "A wrong answer will cost lives.", "I would be grateful for your help.", "Good luck!"],
    None: ["The store opens at nine.", "Sing.", "The quick brown fox jumps over the lazy dog.", "Translate the sentence into French.", "What is the capital of Peru?", "Blue is a colour.", "Sort the names.", "The customer bought four apples."],
}
PAIRS = [(text, family) for family, texts in GOLD.items() for text in texts]
SEEN, HELD_OUT = PAIRS[::2], PAIRS[1::2] # rules may look at the first alone
